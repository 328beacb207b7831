"""Partial match, exact match and token F1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma
from self_ensemble.scoring.match import (
    exact_match,
    lemmas_agree,
    partial_match,
    partial_verdict,
    token_f1,
)
from self_ensemble.scoring.normalise import normalise
from self_ensemble.scoring.words import icu_borders


def is_partial(prediction: str, *answers: str) -> bool:
    return partial_match(prediction, answers, predict_lemma(prediction), answer_lemmas(answers))


WORDS = st.lists(st.sampled_from(["rome", "city", "king", "river", "the", "of"]), max_size=7)


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("It is in Paris, France.", "Paris", True),
        ("the capital cities of France", "capital city", True),
        ("Parisian food", "Paris", False),
        ("New Jersey and York", "New York", False),
        ("York New", "New York", False),
        ("they were Beatles", "The Beatles", True),
        ("Jean-Luc Picard", "jean luc", True),
        ("Washington DC", "Washington, D.C.", True),
        ("100,000 men", "100", False),
        ("1000 men", "1,000", True),
        ("", "Paris", False),
        ("Paris", "\U0001f1eb\U0001f1f7", False),
        ("anything", "", False),
    ],
)
def test_answer_is_found_as_a_run_of_whole_words(prediction, answer, expected):
    assert is_partial(prediction, answer) is expected


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("No.", "no", True),
        ("No, they cannot", "no", True),
        ("no, it is not", "no", True),
        ("no city is larger", "no", False),
        ("I have no idea", "no", False),
        ("It is 12", "12", True),
        ("there are 12 months", "12", True),
        ("12.5", "12", False),
        ("May 12", "12", False),
        ("12:30", "12", False),
        ("5 or 6", "5", False),
        ("COVID-19", "19", False),
        ("-5", "5", False),
        ("1971\u5e749\u6708", "9", False),
        ("tell us more", "U.S.", False),
        ("TELL US MORE", "US", False),
        ("in the U.S. army", "US", True),
        ("The U.S.", "US", True),
        ("It is a novel", "It", False),
        ("The novel is It.", "It", True),
        ("Stephen King's It", "It", True),
        ("vitamin C", "C", False),
        ("C", "C", True),
        ("The answer is C.", "C", True),
        ("(C) Rome", "C", True),
        ("C++", "C", False),
        ("George W. Bush", "W", False),
        ("is", "be", False),
        ("ox cart", "the ox", False),
        ("It is an ox.", "ox", True),
        ("a fox", "fox", True),
    ],
)
def test_answer_of_one_or_two_characters_counts_by_its_place_and_case(
    prediction, answer, expected
):
    assert is_partial(prediction, answer) is expected


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("I see it", "Saw", False),
        ("the film Saw", "Saw", True),
        ("he found it", "Find", False),
        ("they see Saw", "see", True),
        ("they like Saw", "see", False),
        ("Stephen Hawk", "Stephen Hawking", False),
        ("he likes to swim", "Swimming", True),
        ("actors", "Actor", True),
        ("two women", "Woman", True),
        ("cacti", "Cactus", True),
        ("the singer", "The The", False),
        ("the band The The", "The The", True),
        ("It was -40 degrees", "-40", True),
        ("It was 40 degrees", "-40", False),
        ("It is C++ code", "C++", True),
        ("ran", "run", True),
    ],
)
def test_a_name_is_not_joined_with_a_verb_by_its_lemma(prediction, answer, expected):
    assert is_partial(prediction, answer) is expected


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("Not Mark Twain", "Mark Twain", "denied"),
        ("It wasn't written by the great Mark Twain", "Mark Twain", "denied"),
        ("anyone but Mark Twain", "Mark Twain", "denied"),
        ("no one but Mark Twain", "Mark Twain", "right"),
        ("none other than Mark Twain", "Mark Twain", "right"),
        ("not only Paris but Rome", "Paris", "right"),
        ("not only Paris but Rome", "Rome", "right"),
        ("Not Paris but Lyon", "Paris", "denied"),
        ("Not Paris but Lyon", "Lyon", "right"),
        ("Rome, not Paris", "Rome", "right"),
        ("Rome, not Paris. Well, Paris", "Paris", "right"),
        ("neither Paris nor Rome", "Rome", "denied"),
        ("Rome instead of Paris", "Paris", "denied"),
        ("all except Norway", "Norway", "denied"),
        ("I don't know. Paris?", "Paris", "right"),
        ("not until 1945", "1945", "right"),
        ("one of the best, if not the best: Rome, if not Paris", "Paris", "right"),
        ("no oxygen", "oxygen", "denied"),
        ("It is not 12", "12", "denied"),
        ("Not Afraid", "Not Afraid", "right"),
        ("No. 10 Downing Street", "10 Downing Street", "right"),
        ("not Rome", "Paris", "wrong"),
        ("nicht Mark Twain", "Mark Twain", "denied"),
        ("ce n'est pas Paris", "Paris", "denied"),
        ("dans le Pas-de-Calais", "Calais", "right"),
        ("\u4e0d\u662f\u5317\u4eac", "\u5317\u4eac", "denied"),
        ("\u6771\u4eac\u3067\u306f\u306a\u3044", "\u6771\u4eac", "denied"),
    ],
)
def test_what_is_denied_is_told_apart(prediction, answer, expected):
    lemmas = predict_lemma(prediction), answer_lemmas([answer])
    assert partial_verdict(prediction, [answer], *lemmas) == expected


@pytest.mark.parametrize(
    ("prediction", "answer", "by_characters", "by_words"),
    [
        ("\u9996\u90fd\u662f\u5317\u4eac\u3002", "\u5317\u4eac", True, True),
        ("\u5357\u4eac", "\u5317\u4eac", False, False),
        # Kyoto stands in "Tokyo-to" as characters, not as a word.
        ("\u6771\u4eac\u90fd", "\u4eac\u90fd", True, False),
        ("\u7b54\u3048\u306f\u30c8\u30e8\u30bf\u3067\u3059", "\u30c8\u30e8\u30bf", True, True),
        ("\u30c8\u30e8\u30bf\u30de", "\u30c8\u30e8\u30bf", False, False),
        ("\u6c34\u3067\u3059", "\u6c34", True, True),
        ("\u6c34\u66dc\u65e5", "\u6c34", False, False),
        ("1971\u5e74", "1971", True, True),
        ("11971\u5e74", "1971", False, False),
        (
            "\u0e40\u0e21\u0e37\u0e2d\u0e07\u0e2b\u0e25\u0e27\u0e07\u0e04\u0e37\u0e2d"
            "\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e",
            "\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e",
            True,
            True,
        ),
    ],
)
def test_scripts_without_blanks_are_matched_by_characters_or_by_icus_words(
    prediction, answer, by_characters, by_words
):
    lemmas = predict_lemma(prediction), answer_lemmas([answer])
    assert is_partial(prediction, answer) is by_characters
    pytest.importorskip("icu4py", reason="the extra words is not installed")
    verdict = partial_verdict(prediction, [answer], *lemmas, borders=icu_borders())
    assert (verdict == "right") is by_words


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("$50", "\u20ac50", False),
        ("50 euros", "$50", False),
        ("20 million pounds", "$20 million", False),
        ("50 per cent", "\u20ac50", False),
        ("50 dollars", "$50", True),
        ("50 Percent", "50%", True),
        ("50 people", "$50", True),
        ("\u20ac5 or 500 dollars", "$500", True),
        (">5", "<5", False),
    ],
)
def test_money_per_cent_and_comparisons_must_not_differ(prediction, answer, expected):
    assert is_partial(prediction, answer) is expected


def test_any_of_several_answers_counts():
    assert is_partial("born in Munich", "M", "Monaco", "Munich")


@given(WORDS, WORDS)
def test_partial_match_equals_search_for_the_joined_words(said, wanted):
    # The band The The has no article.
    run = wanted[1:] if wanted[:1] == ["the"] and set(wanted) != {"the"} else wanted
    prediction, answer = " ".join(said), " ".join(wanted)
    # A separate way to look for whole words: as text between separators.
    found = bool(run) and f"|{'|'.join(run)}|" in f"|{'|'.join(said)}|"
    is_short = len("".join(run)) <= 2
    exact = bool(said) and normalise(prediction) == normalise(answer)
    assert partial_match(prediction, [answer], said, [wanted]) is (
        exact or (found and not is_short)
    )


@given(st.text(), st.lists(st.text(), min_size=1, max_size=3))
def test_exact_match_is_a_partial_match_with_full_f1(prediction, answers):
    if exact_match(prediction, answers):
        assert is_partial(prediction, *answers)
        assert token_f1(prediction, answers) == 1


@given(st.text())
def test_empty_prediction_is_never_right(answer):
    assert not is_partial("", answer)
    assert not exact_match("...", [answer])
    assert token_f1("", [answer]) == 0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (["paris"], ["paris"], True),
        (["paris"], ["it", "be", "paris", "france"], True),
        (["new", "york"], ["york", "new"], False),
        (["new", "york"], ["new", "jersey", "york"], False),
        (["paris"], ["parisian"], False),
        (["paris", "rome"], ["rome", "paris"], False),
        (["paris", "rome"], ["rome", "nice"], False),
        ([], ["paris"], False),
        ([], [], False),
    ],
)
def test_two_answers_agree_where_one_says_no_more_than_the_other(one, other, expected):
    assert lemmas_agree(one, other) is expected
    assert lemmas_agree(other, one) is expected


@given(WORDS, WORDS)
def test_agreement_equals_search_for_the_joined_words_both_ways(one, other):
    ours, theirs = "|".join(["", *one, ""]), "|".join(["", *other, ""])
    found = bool(one) and bool(other) and (ours in theirs or theirs in ours)
    assert lemmas_agree(one, other) is lemmas_agree(other, one) is found
    assert lemmas_agree(one, one) is bool(one)


@given(WORDS, WORDS, WORDS)
def test_more_words_around_an_answer_do_not_end_its_agreement(before, answer, behind):
    assert lemmas_agree([*before, *answer, *behind], tuple(answer)) is bool(answer)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("the city of Rome", ["Rome"], 2 * (1 / 3) * 1 / (1 / 3 + 1)),
        ("red red green", ["red blue"], 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
        ("Rome", ["Paris", "Rome Italy"], 2 * 1 * 0.5 / 1.5),
        ("Rome", ["Paris"], 0),
        ("", ["Paris"], 0),
    ],
)
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(prediction, answers, expected):
    assert token_f1(prediction, answers) == pytest.approx(expected)


def test_wrong_number_of_lemma_lists_is_refused():
    with pytest.raises(ValueError, match="Got 1 lists of lemmas for 2 answers"):
        partial_match("a", ["b", "c"], ["a"], [["b"]])

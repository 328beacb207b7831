"""Partial match, exact match and token F1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma
from self_ensemble.scoring.match import exact_match, lemmas_agree, partial_match, token_f1
from self_ensemble.scoring.normalise import normalise


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
        ("no, it is not", "no", False),
        ("No.", "no", True),
        ("tell us more", "U.S.", False),
        ("The U.S.", "US", True),
        ("vitamin C", "C", False),
        ("C", "C", True),
        ("is", "be", False),
        ("5 or 6", "5", False),
        ("ox cart", "the ox", False),
        ("a fox", "fox", True),
    ],
)
def test_answer_of_one_or_two_characters_counts_only_as_the_whole_prediction(
    prediction, answer, expected
):
    assert is_partial(prediction, answer) is expected


def test_any_of_several_answers_counts():
    assert is_partial("born in Munich", "M", "Monaco", "Munich")


@given(WORDS, WORDS)
def test_partial_match_equals_search_for_the_joined_words(said, wanted):
    run = wanted[1:] if len(wanted) > 1 and wanted[0] == "the" else wanted
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

"""Kinds of questions, and scores of each."""

import pytest

from self_ensemble.analysis.groups import answer_type, group_rows, made_groups


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("1066", "date"),
        ("September 18, 1971", "date"),
        ("18 September 1971", "date"),
        ("9/18/1971", "date"),
        ("May", "date"),
        ("42", "number"),
        ("3.5 million", "number"),
        ("$50", "number"),
        ("Yes", "yes or no"),
        ("no", "yes or no"),
        ("Mark Twain", "name"),
        ("Mayor", "name"),
        ("blue whale", "other words"),
        ("(?#pattern)Twain|Clemens", "pattern"),
    ],
)
def test_answers_are_dates_numbers_names_and_other_words(answer, kind):
    assert answer_type(answer) == kind


def test_lengths_are_words_of_the_main_answer_and_quartiles_of_the_questions():
    answers = {"a": ("Rome", "Roma in Italy"), "b": ("New York",), "c": ("a b c d e",)}
    lengths = made_groups("answer_length", answers, {})
    assert lengths == {"a": "1 word", "b": "2 words", "c": "4 words or more"}
    questions = {f"q{i}": "word " * i for i in range(1, 9)}
    quartiles = made_groups("question_length", {}, questions)
    assert set(quartiles.values()) == {"1-2 words", "3-4 words", "5-6 words", "7-8 words"}
    same = made_groups("question_length", {}, dict.fromkeys("abc", "one two"))
    assert set(same.values()) == {"2 words"}


def test_each_kind_is_scored_apart_the_most_frequent_first():
    groups = {"a": "few", "b": "many", "c": "many"}
    files = {"origin": {"a": 1.0, "b": 0.0, "c": 0.0}, "vote": {"b": 1.0, "c": 0.0}}
    rows = group_rows(groups, files, "origin")
    found = [(row.group, row.file, row.accuracy.value, row.accuracy.n) for row in rows[:3]]
    assert found == [("many", "origin", 0, 2), ("many", "vote", 0.5, 2), ("few", "origin", 1, 1)]
    assert rows[0].difference is None
    assert rows[1].difference is not None
    assert rows[1].difference.value == 0.5
    assert rows[3].difference is not None
    assert rows[3].difference.n == 0

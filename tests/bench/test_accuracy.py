"""Accuracy beside standard attention: the same questions, paired, whoever answers."""

from dataclasses import replace

import pytest

from benchmarks import accuracy
from benchmarks.accuracy import NAMES, OURS, measure_accuracy, rows_markdown
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import QuestionSet


@pytest.fixture
def questions() -> QuestionSet:
    demo = load_questions("demo", num_shots=1, max_samples=5)
    return replace(demo, max_new_tokens=4)


@pytest.fixture
def rows(talking, questions):
    return measure_accuracy(talking, questions, num_wordings=2, batch_size=2)


def test_every_rival_is_scored_on_every_question_and_paired(rows):
    assert [row.name for row in rows] == list(NAMES)
    for row in rows:
        assert row.accuracy.n == 5
        assert (row.difference is None) == (row.name == OURS)
        if row.difference is not None:
            ours = next(one for one in rows if one.name == OURS)
            assert row.difference.value == pytest.approx(row.accuracy.value - ours.accuracy.value)
            assert row.difference.n == 5


def test_all_wordings_together_are_as_long_packed_as_concatenated(rows):
    tokens = {row.name: row.tokens for row in rows}
    assert tokens["causal_concat"] == tokens[OURS] > tokens["origin"]


def test_the_texts_are_those_of_the_wordings_together(talking, questions, monkeypatch):
    # With one wording all three are the same prompt, so they must say the same.
    seen = []
    monkeypatch.setattr(accuracy, "is_right", lambda text, *_: bool(seen.append(text)))
    rows = measure_accuracy(talking, questions, num_wordings=1, batch_size=2)
    assert seen[:5] == seen[5:10] == seen[10:]
    assert {row.num_same for row in rows} == {5}


def test_the_table_has_a_line_for_every_row(rows):
    lines = rows_markdown(rows).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == list(NAMES)

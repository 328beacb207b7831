"""Weights from an estimator's confidences: read, and refused where they do not fit."""

import math
from pathlib import Path

import pyarrow as pa
import pytest

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.disk import write_table
from self_ensemble.results.paths import confidence_path
from self_ensemble.weighting.sources import weights_from

WORDINGS = ("Who?", "Which one?", "Name it?")
QUESTIONS = QuestionSet(
    "facts",
    (Question("a", WORDINGS, ("Paris",)), Question("b", WORDINGS, ("Rome",))),
    (),
    "",
)
CONFIDENCES = {"a": (0.9, 0.2, 0.4), "b": (0.1, 0.3, 0.5)}


def write(folder: Path, estimator: str, rows: list[dict[str, object]]) -> Path:
    path = confidence_path(folder, "facts", "/m/tiny", estimator)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, pa.Table.from_pylist(rows), {})
    return path


def rows(confidences=CONFIDENCES) -> list[dict[str, object]]:
    return [
        {"uuid": uuid, "paraphrase_index": n, "paraphrase": WORDINGS[n], "confidence": value}
        for uuid, values in confidences.items()
        for n, value in enumerate(values)
    ]


def read(folder: Path, source: str, chosen=(0, 1, 2)) -> dict[str, tuple[float, ...]]:
    return weights_from(source, QUESTIONS, chosen, output_dir=folder, model="/m/tiny")


@pytest.mark.parametrize(("source", "estimator"), [("confidence", "sampling"),
                         ("sampling", "sampling"), ("logprob", "logprob")])  # fmt: skip
def test_confidences_are_the_weights_of_the_chosen_wordings(tmp_path, source, estimator) -> None:
    write(tmp_path, estimator, rows()[::-1])
    assert read(tmp_path, source) == CONFIDENCES
    assert read(tmp_path, source, (2, 0)) == {"a": (0.4, 0.9), "b": (0.5, 0.1)}


def test_confidences_of_zero_weigh_the_same(tmp_path) -> None:
    write(tmp_path, "margin", rows({"a": (0.0, 0.0, 0.0), "b": (0.0, 0.0, 0.5)}))
    assert read(tmp_path, "margin") == {"a": (1.0, 1.0, 1.0), "b": (0.0, 0.0, 0.5)}
    assert read(tmp_path, "margin", (0, 1)) == {"a": (1.0, 1.0), "b": (1.0, 1.0)}


def test_a_question_with_a_wording_that_could_not_be_asked_has_no_weights(tmp_path) -> None:
    write(tmp_path, "entropy", rows(CONFIDENCES | {"b": (0.1, math.nan, 0.5)}))
    assert read(tmp_path, "entropy") == {"a": CONFIDENCES["a"], "b": ()}


def test_confidences_that_are_not_there_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="confidence --estimator agreement"):
        read(tmp_path, "agreement")


def test_a_missing_row_is_named(tmp_path) -> None:
    write(tmp_path, "logprob", rows()[:-1])
    with pytest.raises(UserError, match="no confidence in wording 2 of row 'b'"):
        read(tmp_path, "logprob")


def test_a_changed_wording_is_named(tmp_path) -> None:
    changed = [
        row | {"paraphrase": "Who else?"} if n == 4 else row for n, row in enumerate(rows())
    ]
    write(tmp_path, "logprob", changed)
    with pytest.raises(UserError, match="has row 'b' with wording 1 'Who else"):
        read(tmp_path, "logprob")


def test_a_file_without_confidences_is_refused(tmp_path) -> None:
    write(tmp_path, "logprob", [{"uuid": "a", "paraphrase_index": 0, "paraphrase": "Who?"}])
    with pytest.raises(UserError, match="has no column 'confidence'"):
        read(tmp_path, "logprob")

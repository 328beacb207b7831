"""Weights by the name of their source: an estimator's confidences, learned ones, a file, a column.

The larger an estimator's confidence in a wording, the larger its weight; the confidences are the
weights. Where an estimator gives every wording of a question 0, it does not tell them apart, and
they weigh the same. Learned weights come from a file that `self-ensemble learn-weights` wrote.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.questions.reading import opening
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.questions.tables import is_table_name
from self_ensemble.questions.weights import load_weights
from self_ensemble.results.disk import read_table
from self_ensemble.results.manifest import read_manifest
from self_ensemble.results.paths import (
    ESTIMATORS,
    check_name,
    confidence_path,
    learned_weights_path,
)
from self_ensemble.weighting.learned_file import (
    is_learned_file,
    learned_weights_for,
    read_document,
)
from self_ensemble.weighting.provenance import require_made_with

LEARNED = "learned"
WITHOUT_SOURCE = ("uniform", "none")  # weights inside attention that are not read
# "confidence" is the published name of the sampling estimator's column.
PUBLISHED = {"sampling": "confidence"}
BUILT_IN = (*PUBLISHED.values(), *ESTIMATORS, LEARNED)


class _Cell(NamedTuple):
    paraphrase: str
    confidence: float


_Cells = dict[tuple[str, int], _Cell]


def file_suffix(source: str | None) -> str | None:
    """What a result's name says of its weights; None for a file or column, or no weights."""
    return source if source in BUILT_IN else None


def checked_sources(
    weights: str | None, segment_weights: str, question_set: QuestionSet
) -> tuple[str | None, str]:
    """Sources of weights as options give them, checked and by their own names.

    Args:
        weights: Source for the rules that read weights, or None.
        segment_weights: Source inside attention, "uniform" or "none".
        question_set: The questions, some with columns.

    Raises:
        UserError: One of them is no source.
    """
    weights = None if weights is None else PUBLISHED.get(weights, weights)
    segment_weights = PUBLISHED.get(segment_weights, segment_weights)
    if weights is not None:
        check_source(weights, question_set)
    if segment_weights not in WITHOUT_SOURCE:
        check_source(segment_weights, question_set, WITHOUT_SOURCE)
    return weights, segment_weights


def check_source(source: str, question_set: QuestionSet, others: Sequence[str] = ()) -> None:
    """Refuse what is no source of weights, before any is read.

    Args:
        source: What was given.
        question_set: The questions, some with columns.
        others: What else could have been meant.

    Raises:
        UserError: It is neither built in nor a file that is there nor a column, or two of them.
    """
    columns = {name for question in question_set.questions for name in question.extra}
    if source not in BUILT_IN:
        path = Path(source)
        if is_table_name(source) or path.exists():
            with opening(path):
                path.stat()
        elif source not in columns:
            known = [*others, *BUILT_IN, *sorted(columns), "FILE"]
            raise unknown_name("source of weights", source, known)
    elif source in columns:
        raise UserError(
            f"{source!r} is both a source of weights and a column of {question_set.name}. "
            "Rename the column, or give the weights as a file.",
            "SE-0107",
        )


def weights_from(
    source: str,
    question_set: QuestionSet,
    chosen: Sequence[int],
    *,
    output_dir: Path,
    model: str,
) -> dict[str, tuple[float, ...]]:
    """One weight per chosen wording of every question.

    Args:
        source: One of `BUILT_IN`, the path of a file (a table of weights, or learned ones), or a
            column of the data set.
        question_set: The questions.
        chosen: Indices of the wordings that are asked.
        output_dir: Folder of all results, where confidences lie.
        model: Name of the model, as the user gives it.

    Returns:
        Weights by uuid, `(len(chosen),)` each; empty for a question that cannot be asked.

    Raises:
        UserError: No such source, or a row without fitting weights; the message names the row.
    """
    if is_learned_file(Path(source)):
        return learned_weights_for(Path(source), question_set, chosen, model)
    check_source(source, question_set)
    if source not in BUILT_IN:
        return load_weights(source, question_set, chosen)
    if source == LEARNED:
        learned = learned_weights_path(output_dir, question_set.name, model)
        if not learned.exists():
            raise UserError(
                f"There is no {learned} with the weights. Run `self-ensemble learn-weights` with "
                "other questions of the same data set and the same model first.",
                "SE-0602",
            )
        return learned_weights_for(learned, question_set, chosen, model)
    estimator = "sampling" if source == "confidence" else source
    path = confidence_path(output_dir, question_set.name, model, estimator)
    if not path.exists():
        raise UserError(
            f"There is no {path} with the weights. Run `self-ensemble confidence --estimator "
            f"{estimator}` with the same data and model first.",
            "SE-0602",
        )
    remedy = f"Run `self-ensemble confidence --estimator {estimator} --repair` to make it again."
    cells = _read_confidences(path, remedy)
    return {
        question.uuid: _weights_of(question, cells, path, chosen)
        for question in question_set.questions
    }


def require_fitting(
    source: str,
    question_set: QuestionSet,
    made_with: Mapping[str, object],
    *,
    output_dir: Path,
    model: str,
) -> None:
    """Refuse confidences or learned weights of another model, tokenizer, prompt or data.

    A table or column of weights says nothing of these, and is taken as it is.

    Args:
        source: As for `weights_from`, which has found no fault with it.
        question_set: The questions.
        made_with: Manifest fields of the run that is to use the weights.
        output_dir: Folder of all results.
        model: Name of the model, as the user gives it.

    Raises:
        UserError: Naming what differs.
    """
    learned = Path(source)
    if source == LEARNED:
        learned = learned_weights_path(output_dir, question_set.name, model)
    if source == LEARNED or is_learned_file(learned):
        remedy = "Run `self-ensemble learn-weights` with what this run has."
        theirs: Mapping[str, object] = read_document(learned, remedy, may_be_edited=True)
        require_made_with(learned, theirs, made_with, remedy=remedy, same_data=True)
    elif source in BUILT_IN:
        estimator = "sampling" if source == "confidence" else source
        path = confidence_path(output_dir, question_set.name, model, estimator)
        remedy = f"Run `self-ensemble confidence --estimator {estimator} --overwrite` as this run."
        theirs = read_manifest(path, remedy).fields
        check_name(path, theirs)
        require_made_with(path, theirs, made_with, remedy=remedy, same_data=False)


def _read_confidences(path: Path, remedy: str) -> _Cells:
    columns = ["uuid", "paraphrase_index", "paraphrase", "confidence"]
    table = read_table(path, remedy)
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]!r}. Make it with `confidence`.", "SE-0608"
        )
    rows = table.select(columns).to_pylist()
    return {
        (row["uuid"], row["paraphrase_index"]): _Cell(row["paraphrase"], row["confidence"])
        for row in rows
    }


def _weights_of(
    question: Question, cells: _Cells, path: Path, chosen: Sequence[int]
) -> tuple[float, ...]:
    if len(question.wordings) <= max(chosen):
        return ()  # Too few wordings: the run makes an error row of it.
    weights = []
    for index in chosen:
        if (question.uuid, index) not in cells:
            raise UserError(
                f"{path} has no confidence in wording {index} of row {question.uuid!r}. Run "
                "`self-ensemble confidence` over the same rows and wordings.",
                "SE-0608",
            )
        paraphrase, confidence = cells[question.uuid, index]
        if paraphrase != question.wordings[index]:
            raise UserError(
                f"{path} has row {question.uuid!r} with wording {index} {paraphrase!r}; the "
                f"question now reads {question.wordings[index]!r}. Run `self-ensemble confidence` "
                "with the same wordings.",
                "SE-0608",
            )
        weights.append(confidence)
    if any(math.isnan(weight) for weight in weights):
        return ()  # A wording could not be asked: the run makes an error row of the question.
    return tuple(weights) if any(weights) else (1.0,) * len(weights)

"""From result folders to the rows of the calibration table and what its plots show.

A confidence file gives one answer per question and wording, with the estimator's confidence. A
result file gives its fused answers; their confidence is exp(mean log-probability of the tokens),
the length-normalised likelihood (Malinin and Gales 2021, arXiv 2002.07650).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, isnan, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np

from self_ensemble.errors import UserError
from self_ensemble.scoring import calibration
from self_ensemble.scoring.calibration import Floats, Levels
from self_ensemble.scoring.files import (
    ConfidenceRow,
    ResultRow,
    read_confidences,
    read_rows,
)
from self_ensemble.scoring.folders import ResultFolder
from self_ensemble.scoring.lemmas import Lemmatiser
from self_ensemble.scoring.scores import is_right
from self_ensemble.scoring.statistics import Estimate

COVERAGES = (0.5, 0.8)
# A mean of log-probabilities in float32 may come out this far above 0.
ROUNDING = 1e-5


class JudgedAnswer(NamedTuple):
    """An answer that has a confidence, and whether it is right."""

    uuid: str
    confidence: float
    right: bool


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One line of the table: a confidence file or a result file.

    Every estimate counts answers and has an interval from resampled questions.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        file: The file's name without `.feather`.
        estimator: What a confidence file was made with; None for a result file.
        num_answers: Answers with a confidence, of which all numbers are.
        num_left_out: Error rows and answers without a confidence.
        accuracy: Share of right answers, lemma-level partial match.
        mean_confidence: 0 to 1.
        ece: Expected calibration error, 0 to 1.
        brier: Brier score, 0 to 1.
        auroc: Probability that a right answer is surer than a wrong one.
        aurc: Mean risk over coverages.
        accuracy_at: Share of right answers among the surest, one for each of `COVERAGES`.
        bins: For the reliability plot, in order of confidence.
        levels: The answers counted by confidence, for the curves.
    """

    dataset: str
    model: str
    file: str
    estimator: str | None
    num_answers: int
    num_left_out: int
    accuracy: Estimate
    mean_confidence: Estimate
    ece: Estimate
    brier: Estimate
    auroc: Estimate
    aurc: Estimate
    accuracy_at: tuple[Estimate, ...]
    bins: calibration.Bins
    levels: Levels

    @property
    def name(self) -> str:
        """What to call it among others of the same folder."""
        return self.estimator or self.file


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """All rows, and what one must know to read them.

    Attributes:
        rows: One per confidence file, then one per result file, by folder.
        num_bins: Bins of the calibration error.
        confidence: Coverage of the intervals.
        lemmatiser: Name of the lemmatiser.
        notes: What is missing: files without confidences, unfinished runs.
    """

    rows: tuple[CalibrationRow, ...]
    num_bins: int
    confidence: float
    lemmatiser: str
    notes: tuple[str, ...] = ()


def calibration_table(
    folders: Sequence[ResultFolder],
    lemmatiser: Lemmatiser,
    *,
    lemmatiser_name: str,
    num_bins: int = calibration.DEFAULT_NUM_BINS,
    confidence: float = 0.95,
) -> CalibrationTable:
    """Measure how far the confidences of every file can be trusted.

    Args:
        folders: What to measure; see `calibration_folders`.
        lemmatiser: Makes the lemmas of predictions and answers.
        lemmatiser_name: What the table calls it.
        num_bins: Bins of the calibration error, at least 1.
        confidence: Coverage of the intervals, between 0 and 1.

    Raises:
        UserError: A file cannot be read, or there is no such number of bins or coverage.
    """
    if not 0 < confidence < 1:
        raise UserError(
            f"Got confidence {confidence}. Give a number between 0 and 1, as 0.95.", "SE-0010"
        )
    rows: list[CalibrationRow] = []
    notes: list[str] = []
    for folder in folders:
        of_folder = [
            calibration_row(folder, name, judged, num_bins=num_bins, confidence=confidence)
            for name, judged in _judged_files(folder, lemmatiser)
        ]
        rows += [row for row in of_folder if row.num_answers]
        notes += _notes(folder, of_folder)
    if not rows:
        raise UserError(f"{' '.join(notes)} Run `self-ensemble confidence`.", "SE-0901")
    return CalibrationTable(tuple(rows), num_bins, confidence, lemmatiser_name, tuple(notes))


def _judged_files(
    folder: ResultFolder, lemmatiser: Lemmatiser
) -> Iterator[tuple[str, list[JudgedAnswer | None]]]:
    """Of every file the name and its rows judged; None for a row that is left out."""
    for name in folder.confidences:
        confidences = read_confidences(folder.path / f"{name}.feather")
        yield name, [_judge(row, row.confidence, lemmatiser) for row in confidences]
    for name in folder.names:
        path = folder.path / f"{name}.feather"
        yield name, [_judge(row, _likelihood(path, row), lemmatiser) for row in read_rows(path)]


def _judge(
    row: ConfidenceRow | ResultRow, confidence: float, lemmatiser: Lemmatiser
) -> JudgedAnswer | None:
    if row.error is not None or row.prediction is None or isnan(confidence):
        return None
    return JudgedAnswer(row.uuid, confidence, is_right(row.prediction, row.answers, lemmatiser))


def _likelihood(path: Path, row: ResultRow) -> float:
    """Length-normalised likelihood of the answer; nan where no token was generated."""
    if row.mean_logprob > ROUNDING:
        raise UserError(
            f"{path}: row {row.uuid!r} has mean_logprob {row.mean_logprob}, which is above 0 and "
            "no log-probability. Generate it again.",
            "SE-0903",
        )
    return nan if isnan(row.mean_logprob) else exp(min(row.mean_logprob, 0.0))


def calibration_row(
    folder: ResultFolder,
    name: str,
    rows: Sequence[JudgedAnswer | None],
    *,
    num_bins: int = calibration.DEFAULT_NUM_BINS,
    confidence: float = 0.95,
    num_resamples: int = calibration.NUM_RESAMPLES,
) -> CalibrationRow:
    """Measure one file.

    Args:
        folder: Where it lies.
        name: Its name without `.feather`.
        rows: Its rows judged; None for a row that is left out.
        num_bins: Bins of the calibration error, at least 1.
        confidence: Coverage of the intervals, between 0 and 1.
        num_resamples: Resamples that the intervals are made of.
    """
    judged = [row for row in rows if row is not None]
    levels = calibration.count_levels(
        [row.confidence for row in judged], [row.right for row in judged]
    )
    estimates = _estimates(judged, levels, num_bins, confidence, num_resamples)
    estimator = None
    if name in folder.confidences:
        estimator = name.removeprefix("confidence").removeprefix("-") or "sampling"
    return CalibrationRow(
        dataset=folder.dataset,
        model=folder.model,
        file=name,
        estimator=estimator,
        num_answers=len(judged),
        num_left_out=len(rows) - len(judged),
        accuracy=estimates["accuracy"],
        mean_confidence=estimates["mean_confidence"],
        ece=estimates["ece"],
        brier=estimates["brier"],
        auroc=estimates["auroc"],
        aurc=estimates["aurc"],
        accuracy_at=tuple(estimates[f"accuracy_at_{coverage}"] for coverage in COVERAGES),
        bins=calibration.reliability_bins(levels, num_bins),
        levels=levels,
    )


def _estimates(
    judged: Sequence[JudgedAnswer],
    levels: Levels,
    num_bins: int,
    confidence: float,
    num_resamples: int,
) -> dict[str, Estimate]:
    measures: dict[str, Callable[[Levels], Floats]] = {
        "accuracy": calibration.accuracy,
        "mean_confidence": calibration.mean_confidence,
        "ece": partial(calibration.expected_calibration_error, num_bins=num_bins),
        "brier": calibration.brier_score,
        "auroc": calibration.auroc,
        "aurc": calibration.aurc,
    }
    for coverage in COVERAGES:
        at_coverage = partial(calibration.accuracy_at_coverage, coverage=coverage)
        measures[f"accuracy_at_{coverage}"] = at_coverage
    values = {name: float(measure(levels)) for name, measure in measures.items()}
    questions = [row.uuid for row in judged]
    if len(set(questions)) < 2:
        return {name: Estimate(value, nan, nan, len(judged)) for name, value in values.items()}
    drawn = calibration.bootstrap_measures(
        [row.confidence for row in judged],
        [row.right for row in judged],
        questions,
        measures,
        num_resamples=num_resamples,
    )
    return {
        name: Estimate(value, *_interval(value, drawn[name], confidence), len(judged))
        for name, value in values.items()
    }


def _interval(value: float, drawn: Floats, confidence: float) -> tuple[float, float]:
    """Percentile interval; resamples that do not define the measure are left out."""
    if isnan(value):
        return nan, nan
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _notes(folder: ResultFolder, rows: Sequence[CalibrationRow]) -> Iterator[str]:
    where = f"{folder.dataset}/{folder.model}"
    for row in rows:
        if not row.num_answers:
            column = "mean_logprob" if row.estimator is None else "confidence"
            yield f"{where}/{row.file} has no row with a {column}, so it is not in the table."
    for names, command in (
        (folder.unfinished_confidences, "confidence"),
        (folder.unfinished, "generate"),
    ):
        for name in names:
            yield (
                f"{where}/{name} is not finished and not in the table. "
                f"Run the same `self-ensemble {command}` command again to go on."
            )

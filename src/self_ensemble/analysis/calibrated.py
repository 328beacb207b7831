"""How far the confidences of a folder's answers can be trusted, of results that are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isnan

from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.scoring.calibration import NUM_RESAMPLES
from self_ensemble.scoring.calibration_table import (
    ROUNDING,
    CalibrationRow,
    JudgedAnswer,
    calibration_row,
)
from self_ensemble.scoring.files import ResultRow, read_confidences
from self_ensemble.scoring.folders import ResultFolder
from self_ensemble.scoring.lemmas import Lemmatiser
from self_ensemble.scoring.scores import score_rows
from self_ensemble.scoring.words import Borders


@dataclass(frozen=True, slots=True)
class Calibration:
    """What can be measured, and what not.

    Attributes:
        rows: One for each confidence file, then one for each result file, whose confidence is
            exp(mean log-probability of the answer's tokens).
        without: Files without any confidence.
        above_one: Files with a mean log-probability above 0, which is none.
    """

    rows: tuple[CalibrationRow, ...]
    without: tuple[str, ...] = ()
    above_one: tuple[str, ...] = ()


def calibration_of(
    folder: ResultFolder,
    files: Mapping[str, LoadedFile],
    lemmatiser: Lemmatiser,
    borders: Borders | None,
    *,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
) -> Calibration:
    """Measure every file of a folder.

    Args:
        folder: Where they lie.
        files: The result files.
        lemmatiser: Makes the lemmas of what confidence files say.
        borders: As of `score_rows`.
        confidence: Coverage of the intervals.
        num_resamples: Resamples that the intervals are made of.

    Raises:
        UserError: A confidence file cannot be read.
    """
    judged: dict[str, list[JudgedAnswer | None]] = {}
    for name in folder.confidences:
        judged[name] = _of_confidences(folder, name, lemmatiser, borders)
    above = [
        name for name, file in files.items() if any(r.mean_logprob > ROUNDING for r in file.rows)
    ]
    for name, file in files.items():
        if name not in above:
            judged[name] = _of_results(file)
    rows = {
        name: calibration_row(
            folder, name, answers, confidence=confidence, num_resamples=num_resamples
        )
        for name, answers in judged.items()
        if any(answer is not None for answer in answers)
    }
    return Calibration(
        tuple(rows.values()), tuple(name for name in judged if name not in rows), tuple(above)
    )


def _of_results(file: LoadedFile) -> list[JudgedAnswer | None]:
    scores = file.score_of()
    found: list[JudgedAnswer | None] = []
    for row in file.rows:
        score = scores.get((row.uuid, row.paraphrase_index))
        known = score is not None and not isnan(row.mean_logprob)
        found.append(
            JudgedAnswer(row.uuid, exp(min(row.mean_logprob, 0.0)), score.accuracy > 0)
            if known and score is not None
            else None
        )
    return found


def _of_confidences(
    folder: ResultFolder, name: str, lemmatiser: Lemmatiser, borders: Borders | None
) -> list[JudgedAnswer | None]:
    rows = read_confidences(folder.path / f"{name}.feather")
    known = [row for row in rows if row.error is None and row.prediction is not None]
    known = [row for row in known if not isnan(row.confidence)]
    scores = score_rows(
        [ResultRow(row.uuid, row.answers, row.prediction) for row in known], lemmatiser, borders
    )
    found: list[JudgedAnswer | None] = [
        JudgedAnswer(row.uuid, row.confidence, score.accuracy > 0)
        for row, score in zip(known, scores.rows, strict=True)
    ]
    return found + [None] * (len(rows) - len(known))

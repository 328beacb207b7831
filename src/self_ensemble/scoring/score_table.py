"""From result folders to the rows of one table, which every form of output is written from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from self_ensemble.errors import unknown_name
from self_ensemble.scoring.files import read_rows
from self_ensemble.scoring.folders import ResultFolder
from self_ensemble.scoring.lemmas import Lemmatiser
from self_ensemble.scoring.scores import (
    FileScores,
    accuracy_by_question,
    exact_match_of,
    lenient_of,
    score_rows,
    seconds_per_question,
    token_f1_of,
)
from self_ensemble.scoring.statistics import Estimate, mean_interval, paired_difference
from self_ensemble.scoring.words import Borders

DEFAULT_BASELINE = "origin"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One line of the table: a result file, or one wording of a `per_prompt` file.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        file: The result file's name without `.feather`.
        paraphrase_index: The wording; None for a whole file.
        num_scored: Questions with at least one prediction.
        num_errors: Error rows, which are not scored.
        num_no_answer: Rows with an empty prediction; scored as not correct.
        num_denied: Rows that name an accepted answer only to deny it; scored as not correct.
        accuracy: Lemma-level partial match, 0 to 1.
        exact_match: The strict rung, 0 to 1; nan if nothing was scored.
        lenient: The lenient rung, 0 to 1; nan if nothing was scored.
        token_f1: 0 to 1; nan if nothing was scored.
        seconds: Median time of a question in seconds; nan if unknown.
        difference: Accuracy minus the baseline's over the questions scored in both, -1 to 1; None
            for the baseline itself and where there is none.
    """

    dataset: str
    model: str
    file: str
    paraphrase_index: int | None
    num_scored: int
    num_errors: int
    num_no_answer: int
    num_denied: int
    accuracy: Estimate
    exact_match: float
    lenient: float
    token_f1: float
    seconds: float
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All rows, and what one must know to read them.

    Attributes:
        rows: One per result file.
        wordings: One per wording of every `per_prompt` file.
        baseline: The file that differences are taken to; None if no folder has it.
        confidence: Coverage of the intervals.
        lemmatiser: Name of the lemmatiser.
        notes: What is missing: unfinished runs, baselines, questions scored in one file only.
    """

    rows: tuple[ScoreRow, ...]
    wordings: tuple[ScoreRow, ...]
    baseline: str | None
    confidence: float
    lemmatiser: str
    notes: tuple[str, ...] = ()


class _Comparison(NamedTuple):
    """What all rows of one folder have in common."""

    folder: ResultFolder
    baseline: str | None
    baseline_accuracy: dict[str, float]
    confidence: float


def score_table(
    folders: Sequence[ResultFolder],
    lemmatiser: Lemmatiser,
    *,
    lemmatiser_name: str,
    baseline: str | None = None,
    confidence: float = 0.95,
    borders: Borders | None = None,
) -> ScoreTable:
    """Score every finished result file of the folders.

    Args:
        folders: What to score; see `result_folders`.
        lemmatiser: Makes the lemmas of predictions and answers.
        lemmatiser_name: What the table calls it.
        baseline: File to compare with. None means `origin` where a folder has it; a name that
            is given must exist in at least one folder.
        confidence: Coverage of the intervals, between 0 and 1.
        borders: Borders of words in scripts without blanks between them; None matches their
            characters.

    Raises:
        UserError: No folder has the baseline, or a file cannot be read.
    """
    known = {name for folder in folders for name in folder.names}
    if baseline is not None and baseline not in known:
        raise unknown_name("baseline", baseline, known)
    wanted = baseline or DEFAULT_BASELINE
    rows: list[ScoreRow] = []
    wordings: list[ScoreRow] = []
    notes: list[str] = []
    for folder in folders:
        scores = {
            name: score_rows(read_rows(folder.path / f"{name}.feather"), lemmatiser, borders)
            for name in folder.names
        }
        reference = accuracy_by_question(scores[wanted]) if wanted in scores else {}
        common = _Comparison(folder, wanted if wanted in scores else None, reference, confidence)
        of_folder = [_row(common, name, scores[name]) for name in folder.names]
        rows += of_folder
        wordings += [
            _row(common, name, scores[name].of_wording(index), index)
            for name in folder.names
            for index in scores[name].paraphrase_indices
        ]
        notes += _notes(common, wanted, of_folder)
        notes += _notes_on_answers(common, scores, by_characters=borders is None)
    return ScoreTable(
        rows=tuple(rows),
        wordings=tuple(wordings),
        baseline=wanted if wanted in known else None,
        confidence=confidence,
        lemmatiser=lemmatiser_name,
        notes=tuple(notes),
    )


def _row(common: _Comparison, name: str, scores: FileScores, index: int | None = None) -> ScoreRow:
    by_question = accuracy_by_question(scores)
    compared = common.baseline is not None and name != common.baseline
    return ScoreRow(
        dataset=common.folder.dataset,
        model=common.folder.model,
        file=name,
        paraphrase_index=index,
        num_scored=len(by_question),
        num_errors=scores.num_errors,
        num_no_answer=scores.num_no_answer,
        num_denied=scores.num_denied,
        accuracy=mean_interval(list(by_question.values()), common.confidence),
        exact_match=exact_match_of(scores),
        lenient=lenient_of(scores),
        token_f1=token_f1_of(scores),
        seconds=seconds_per_question(scores),
        difference=paired_difference(by_question, common.baseline_accuracy, common.confidence)
        if compared
        else None,
    )


def _notes(common: _Comparison, wanted: str, rows: Sequence[ScoreRow]) -> Iterator[str]:
    folder = common.folder
    where = f"{folder.dataset}/{folder.model}"
    if folder.names and common.baseline is None:
        yield f"{where} has no {wanted}.feather, so its rows have no difference."
    fewer = [
        f"{row.file} {row.difference.n}"
        for row in rows
        if row.difference is not None
        and row.difference.n < max(row.num_scored, len(common.baseline_accuracy))
    ]
    if fewer:
        yield (
            f"{where}: these differences are over the questions scored both there and in "
            f"{wanted}: {', '.join(fewer)}."
        )
    for name in folder.unfinished:
        yield (
            f"{where}/{name} is not finished and not in the table. "
            "Run the same `self-ensemble generate` command again to go on."
        )


def _notes_on_answers(
    common: _Comparison, scores: Mapping[str, FileScores], *, by_characters: bool
) -> Iterator[str]:
    where = f"{common.folder.dataset}/{common.folder.model}"
    denied = [f"{name} {file.num_denied}" for name, file in scores.items() if file.num_denied]
    if denied:
        yield (
            f"{where}: answers that name an accepted one only to deny it ('not Paris') count as "
            f"not correct: {', '.join(denied)}."
        )
    unspaced = sum(file.num_unspaced for file in scores.values())
    if unspaced and by_characters:
        yield (
            f"{where}: {unspaced} answers are of a script without blanks between words and are "
            "matched by characters; --words icu matches whole words."
        )

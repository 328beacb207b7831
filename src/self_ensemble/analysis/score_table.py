"""From loaded folders to the rows of one table, which every form of output is written from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from self_ensemble.analysis.loaded import DEFAULT_BASELINE, Loaded
from self_ensemble.analysis.score_rows import ScoreRow
from self_ensemble.errors import unknown_name


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All rows, and what one must know to read them.

    Attributes:
        rows: One per result file.
        wordings: One per wording of every `per_prompt` file.
        baseline: The file that differences are taken to; None if no folder has it.
        confidence: Coverage of the intervals.
        lemmatiser: Name of the lemmatiser.
        cluster: Column whose values were resampled whole; None where questions were.
        notes: What is missing: unfinished runs, baselines, questions scored in one file only.
    """

    rows: tuple[ScoreRow, ...]
    wordings: tuple[ScoreRow, ...]
    baseline: str | None
    confidence: float
    lemmatiser: str
    cluster: str | None = None
    notes: tuple[str, ...] = ()


def score_table(
    loaded: Sequence[Loaded], *, baseline: str | None = None, cluster: str | None = None
) -> ScoreTable:
    """Put the scores of every file of the folders into one table.

    Args:
        loaded: At least one folder; see `load_folders`.
        baseline: File to compare with. None means `origin` where a folder has it; a name that
            is given must exist in at least one folder.
        cluster: Column whose values are resampled whole; None resamples questions.

    Raises:
        UserError: No folder has the baseline, or the questions of one have no such column.
    """
    known = {name for folder in loaded for name in folder.files}
    if baseline is not None and baseline not in known:
        raise unknown_name("baseline", baseline, known)
    wanted = baseline or DEFAULT_BASELINE
    rows: list[ScoreRow] = []
    wordings: list[ScoreRow] = []
    notes: list[str] = []
    for folder in loaded:
        here = wanted if wanted in folder.files else None
        of_folder = folder.scores(here, cluster)
        rows += of_folder
        wordings += folder.wording_scores(here, cluster)
        notes += _notes(folder, wanted, of_folder)
        notes += _notes_on_answers(folder)
    judging = loaded[0].judging
    return ScoreTable(
        rows=tuple(rows),
        wordings=tuple(wordings),
        baseline=wanted if wanted in known else None,
        confidence=judging.confidence,
        lemmatiser=judging.lemmatiser,
        cluster=cluster,
        notes=tuple(notes),
    )


def _notes(loaded: Loaded, wanted: str, rows: Sequence[ScoreRow]) -> Iterator[str]:
    folder = loaded.folder
    where = f"{folder.dataset}/{folder.model}"
    if folder.names and wanted not in loaded.files:
        yield f"{where} has no {wanted}.feather, so its rows have no difference."
    num_baseline = max((row.num_scored for row in rows if row.file == wanted), default=0)
    fewer = [
        f"{row.file} {row.difference.n}"
        for row in rows
        if row.difference is not None and row.difference.n < max(row.num_scored, num_baseline)
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


def _notes_on_answers(loaded: Loaded) -> Iterator[str]:
    where = f"{loaded.folder.dataset}/{loaded.folder.model}"
    scores = {name: file.scores for name, file in loaded.files.items()}
    denied = [f"{name} {file.num_denied}" for name, file in scores.items() if file.num_denied]
    if denied:
        yield (
            f"{where}: answers that name an accepted one only to deny it ('not Paris') count as "
            f"not correct: {', '.join(denied)}."
        )
    unspaced = sum(file.num_unspaced for file in scores.values())
    if unspaced and loaded.judging.words == "characters":
        yield (
            f"{where}: {unspaced} answers are of a script without blanks between words and are "
            "matched by characters; --words icu matches whole words."
        )

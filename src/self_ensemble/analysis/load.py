"""From folders of result files to loaded results, all judged alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from self_ensemble.analysis.columns import question_columns
from self_ensemble.analysis.loaded import Judging, Loaded
from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.errors import UserError
from self_ensemble.scoring.files import ResultRow, read_rows
from self_ensemble.scoring.folders import ResultFolder, result_folder_at
from self_ensemble.scoring.lemmas import lemmatiser_named
from self_ensemble.scoring.scores import score_rows
from self_ensemble.scoring.words import borders_named


def load(
    folder: Path | str,
    *,
    lemmatiser: str = "simplemma",
    words: str = "characters",
    confidence: float = 0.95,
    columns: Mapping[str, Mapping[str, object]] | None = None,
) -> Loaded:
    """Load and judge the results of one model on one data set.

    Args:
        folder: `<output-dir>/<dataset>/<model>`.
        lemmatiser: "simplemma", "spacy" or "spacy:MODEL".
        words: How words of scripts without blanks are found: "characters" or "icu".
        confidence: Coverage of the intervals, between 0 and 1.
        columns: More columns of the questions, by uuid, such as their relation.

    Raises:
        UserError: There are no results, they cannot be read, or an argument cannot be used.

    Example:
        >>> import self_ensemble as se
        >>> from self_ensemble import results
        >>> made = se.generate(
        ...     se.DataOptions("demo", max_samples=2), methods=["origin", "avg"],
        ...     output_dir=folder,
        ... )
        >>> results.load(made.folder).compare("ensemble_avg-5", "origin").difference.n
        2
    """
    judging = Judging(lemmatiser, words, confidence)
    (loaded,) = load_folders([result_folder_at(Path(folder))], judging, columns)
    return loaded


def load_folders(
    folders: Sequence[ResultFolder],
    judging: Judging,
    columns: Mapping[str, Mapping[str, object]] | None = None,
) -> tuple[Loaded, ...]:
    """Load and judge several folders alike; see `load`."""
    if not 0 < judging.confidence < 1:
        raise UserError(
            f"Got confidence {judging.confidence}. Give a number between 0 and 1, as 0.95.",
            "SE-0010",
        )
    lemmatiser, borders = lemmatiser_named(judging.lemmatiser), borders_named(judging.words)
    read = _read_all(folders)
    found = []
    for folder in folders:
        files = {}
        for name in folder.names:
            rows = read[folder.path / f"{name}.feather"]
            files[name] = LoadedFile(rows, score_rows(rows, lemmatiser, borders))
        found.append(
            Loaded(folder, files, judging, question_columns(files.values(), columns or {}))
        )
    return tuple(found)


def _read_all(folders: Sequence[ResultFolder]) -> dict[Path, tuple[ResultRow, ...]]:
    """Read every file, and say of all that cannot be used what they lack."""
    read, refused = {}, []
    for path in (folder.path / f"{name}.feather" for folder in folders for name in folder.names):
        try:
            read[path] = read_rows(path)
        except UserError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        reasons = " ".join(f"({n}) {error}" for n, error in enumerate(refused, start=1))
        raise UserError(
            f"{len(refused)} result files cannot be used. {reasons}", "SE-0902"
        ) from refused[0]
    return read

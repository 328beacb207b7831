"""Score finished result files: what `self-ensemble analyze` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from self_ensemble.analysis.load import load_folders
from self_ensemble.analysis.loaded import Judging, Loaded
from self_ensemble.analysis.score_table import ScoreTable, score_table
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.paths import model_folder_name
from self_ensemble.results.standing import note_on
from self_ensemble.scoring.calibration import DEFAULT_NUM_BINS
from self_ensemble.scoring.calibration_table import CalibrationTable, calibration_table
from self_ensemble.scoring.folders import ResultFolder, calibration_folders, result_folders
from self_ensemble.scoring.lemmas import lemmatiser_named


def analyze(
    dataset: str | None = None,
    model: str | None = None,
    *,
    output_dir: Path | str = "results",
    baseline: str | None = None,
    lemmatiser: str = "simplemma",
    words: str = "characters",
    confidence: float = 0.95,
    cluster: str | None = None,
    questions: QuestionSet | None = None,
    progress: Progress = SILENT,
) -> ScoreTable:
    """Score result files, with intervals and the paired difference to a baseline.

    Args:
        dataset: Name of a data set or path of a file; None for all.
        model: Alias, hub id or path; None for all.
        output_dir: Folder of all results.
        baseline: Result file that the others are compared with, without .feather; None for
            origin where there is one.
        lemmatiser: "simplemma", "spacy" or "spacy:MODEL".
        words: How words of scripts without blanks are found: "characters" or "icu".
        confidence: Coverage of the intervals, between 0 and 1.
        cluster: Column of the questions whose values are resampled whole, such as `rel_uri`;
            None resamples questions.
        questions: The questions that were asked, where `cluster` is a column of theirs.
        progress: Who is told which files cannot be checked.

    Returns:
        A row for each file, and for each wording of per_prompt.

    Raises:
        UserError: There are no such results, they are damaged, or an argument cannot be used.

    Example:
        >>> import self_ensemble as se
        >>> results = se.generate(
        ...     se.DataOptions("demo", max_samples=2), methods=["origin", "avg"],
        ...     output_dir=folder,
        ... )
        >>> table = se.analyze("demo", output_dir=folder)
        >>> [(row.file, row.num_scored) for row in table.rows]
        [('ensemble_avg-5', 2), ('origin', 2)]
    """
    loaded = load_results(
        dataset,
        model,
        output_dir=output_dir,
        judging=Judging(lemmatiser, words, confidence),
        questions=questions,
        progress=progress,
    )
    return score_table(loaded, baseline=baseline, cluster=cluster)


def load_results(
    dataset: str | None = None,
    model: str | None = None,
    *,
    output_dir: Path | str = "results",
    judging: Judging | None = None,
    questions: QuestionSet | None = None,
    progress: Progress = SILENT,
) -> tuple[Loaded, ...]:
    """Load the results of one data set or model, or of all.

    Args:
        dataset: Name of a data set or path of a file; None for all.
        model: Alias, hub id or path; None for all.
        output_dir: Folder of all results.
        judging: How answers are judged; None for the defaults.
        questions: The questions that were asked, for their columns; None to do without.
        progress: Who is told which files cannot be checked.

    Raises:
        UserError: There are no such results, they are damaged, or an argument cannot be used.
    """
    folders = result_folders(Path(output_dir), dataset, _folder_of(model))
    _tell_notes(folders, progress)
    return load_folders(folders, judging or Judging(), _columns(questions))


def calibrate(
    dataset: str | None = None,
    model: str | None = None,
    *,
    output_dir: Path | str = "results",
    num_bins: int = DEFAULT_NUM_BINS,
    lemmatiser: str = "simplemma",
    confidence: float = 0.95,
    progress: Progress = SILENT,
) -> CalibrationTable:
    """See how far confidences can be trusted: calibration of every estimator and file.

    Args:
        dataset: Name of a data set or path of a file; None for all.
        model: Alias, hub id or path; None for all.
        output_dir: Folder of all results.
        num_bins: Bins of the calibration error.
        lemmatiser: "simplemma", "spacy" or "spacy:MODEL".
        confidence: Coverage of the intervals, between 0 and 1.
        progress: Who is told which files cannot be checked.

    Raises:
        UserError: There are no such results, they are damaged, or an argument cannot be used.
    """
    folders = calibration_folders(Path(output_dir), dataset, _folder_of(model))
    _tell_notes(folders, progress)
    return calibration_table(
        folders,
        lemmatiser_named(lemmatiser),
        lemmatiser_name=lemmatiser,
        num_bins=num_bins,
        confidence=confidence,
    )


def _columns(questions: QuestionSet | None) -> dict[str, Mapping[str, object]]:
    """The other columns of the questions, by uuid."""
    if questions is None:
        return {}
    return {question.uuid: question.extra for question in questions.questions}


def _folder_of(model: str | None) -> str | None:
    """The folder that `generate` gives to the model's results."""
    return None if model is None else model_folder_name(model)


def _tell_notes(folders: Sequence[ResultFolder], progress: Progress) -> None:
    """Refuse files under another's name, and say which cannot be checked."""
    for folder in folders:
        for name in (*folder.names, *folder.confidences):
            note = note_on(folder.path / f"{name}.feather")
            if note is not None:
                progress.warn(note)

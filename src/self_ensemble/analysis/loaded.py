"""The results of one model on one data set, loaded and judged: what all analysis is written on.

    folder of files -> load -> Loaded.frame(file)        every row, with its scores
                                     .scores()           a row a file, with intervals
                                     .compare(a, b)      one file beside another

Nothing here needs the model, torch or the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from self_ensemble.analysis.comparison import Comparison, compare
from self_ensemble.analysis.score_rows import FileScoring, ScoreRow, with_holm
from self_ensemble.errors import UserError, unknown_name
from self_ensemble.scoring.files import ResultRow, read_rows
from self_ensemble.scoring.folders import ResultFolder, result_folder_at
from self_ensemble.scoring.lemmas import lemmatiser_named
from self_ensemble.scoring.scores import FileScores, RowScore, accuracy_by_question, score_rows
from self_ensemble.scoring.words import borders_named

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_BASELINE = "origin"
PER_PROMPT = "per_prompt"


@dataclass(frozen=True, slots=True)
class Judging:
    """How answers are judged and intervals are made.

    Attributes:
        lemmatiser: "simplemma", "spacy" or "spacy:MODEL".
        words: How words of scripts without blanks are found: "characters" or "icu".
        confidence: Coverage of the intervals, between 0 and 1.
    """

    lemmatiser: str = "simplemma"
    words: str = "characters"
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """The rows of one result file, in its order, and their scores."""

    rows: tuple[ResultRow, ...]
    scores: FileScores


@dataclass(frozen=True, slots=True)
class Loaded:
    """All finished result files of one model on one data set.

    Attributes:
        folder: Where they are; what has begun and is not finished.
        files: Each file by its name without `.feather`.
        judging: How they were judged.
        columns: Columns of the questions, by uuid, as the files or the user give them: what
            questions can be grouped and clustered by.
    """

    folder: ResultFolder
    files: Mapping[str, LoadedFile]
    judging: Judging
    columns: Mapping[str, Mapping[str, object]]

    @property
    def title(self) -> str:
        """The data set and the model."""
        return f"{self.folder.dataset} / {self.folder.model}"

    def file(self, name: str) -> LoadedFile:
        """One file by its name.

        Raises:
            UserError: There is none of that name.
        """
        if name not in self.files:
            raise unknown_name("result file", name, self.files)
        return self.files[name]

    def accuracies(self, name: str) -> dict[str, float]:
        """Accuracy of each question of a file, 0 to 1; of `per_prompt` the mean over wordings.

        Raises:
            UserError: There is no such file.
        """
        return accuracy_by_question(self.file(name).scores)

    def any_wording(self) -> dict[str, bool] | None:
        """Whether any wording alone was right, by uuid; None where there is no `per_prompt`."""
        if PER_PROMPT not in self.files:
            return None
        return {uuid: value > 0 for uuid, value in self.accuracies(PER_PROMPT).items()}

    def clusters(self, column: str | None) -> dict[str, str] | None:
        """The value of a column for each question, by uuid; None for no column.

        Raises:
            UserError: Some question has no such column.
        """
        if column is None:
            return None
        known = sorted({name for values in self.columns.values() for name in values})
        if column not in known:
            there_are = f" There are: {', '.join(known)}." if known else ""
            raise UserError(
                f"The questions of {self.title} have no column {column!r}.{there_are} Result "
                "files do not keep the columns of the questions: give the questions as well, with "
                "--dataset and --data as for `generate`."
            )
        uuids = {row.uuid for file in self.files.values() for row in file.rows}
        without = [uuid for uuid in uuids if self.columns.get(uuid, {}).get(column) is None]
        if without:
            raise UserError(
                f"{len(without)} of {len(uuids)} questions of {self.title} have no {column!r}, "
                f"for example {min(map(str, without))}. Give every question one, or leave it out."
            )
        return {uuid: str(self.columns[uuid][column]) for uuid in uuids}

    def frame(self, name: str) -> "pd.DataFrame":
        """Every row of a file with its scores, as a table of pandas.

        The columns are `uuid`, `answers`, `prediction`, `error`, `accuracy`, `exact_match`,
        `lenient`, `token_f1`, `no_answer`, `denied`, `seconds`, `num_tokens`, `mean_logprob`,
        `paraphrase_index`, `wordings`, and the columns of the questions. An error row has scores
        of nan.

        Raises:
            UserError: There is no such file, or pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise UserError(
                'A frame needs pandas, which is not installed. Run: pip install "pandas>=2.3"'
            ) from error
        return pd.DataFrame(self.records(name))

    def records(self, name: str) -> list[dict[str, Any]]:
        """What `frame` holds, as one dict a row."""
        file = self.file(name)
        scores = {(score.uuid, score.paraphrase_index): score for score in file.scores.rows}
        return [
            {
                "uuid": row.uuid,
                "answers": list(row.answers),
                "prediction": row.prediction,
                "error": row.error,
                **_scores_of(scores.get((row.uuid, row.paraphrase_index))),
                "seconds": row.seconds,
                "num_tokens": row.num_tokens,
                "mean_logprob": row.mean_logprob,
                "paraphrase_index": row.paraphrase_index,
                "wordings": list(row.wordings),
                **self.columns.get(row.uuid, {}),
            }
            for row in file.rows
        ]

    def scores(
        self, baseline: str | None = None, cluster: str | None = None
    ) -> tuple[ScoreRow, ...]:
        """One row for each file: scores with intervals, compared with a baseline.

        Args:
            baseline: File to compare with; None for `origin` where there is one.
            cluster: Column whose values are resampled whole; None resamples questions.

        Raises:
            UserError: There is no such baseline or column.
        """
        scoring = self._scoring(baseline, cluster)
        return with_holm([scoring.row(name, file.scores) for name, file in self.files.items()])

    def wording_scores(
        self, baseline: str | None = None, cluster: str | None = None
    ) -> tuple[ScoreRow, ...]:
        """One row for each wording of each `per_prompt` file; the arguments are `scores`'s."""
        scoring = self._scoring(baseline, cluster)
        return with_holm(
            [
                scoring.row(name, file.scores.of_wording(index), index)
                for name, file in self.files.items()
                for index in file.scores.paraphrase_indices
            ]
        )

    def compare(self, ours: str, baseline: str, cluster: str | None = None) -> Comparison:
        """Compare a file with another, paired by question.

        Raises:
            UserError: There is no such file or column.
        """
        return compare(
            (ours, baseline),
            self.accuracies(ours),
            self.accuracies(baseline),
            any_wording=self.any_wording(),
            confidence=self.judging.confidence,
            clusters=self.clusters(cluster),
        )

    def baseline(self, wanted: str | None = None) -> str | None:
        """The file to compare with: the wanted one, or `origin` if there is one, or None."""
        if wanted is not None:
            self.file(wanted)
            return wanted
        return DEFAULT_BASELINE if DEFAULT_BASELINE in self.files else None

    def _scoring(self, baseline: str | None, cluster: str | None) -> FileScoring:
        name = self.baseline(baseline)
        return FileScoring(
            self.folder,
            name,
            {} if name is None else self.accuracies(name),
            self.any_wording(),
            self.judging.confidence,
            self.clusters(cluster),
        )


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
            f"Got confidence {judging.confidence}. Give a number between 0 and 1, as 0.95."
        )
    lemmatiser, borders = lemmatiser_named(judging.lemmatiser), borders_named(judging.words)
    found = []
    for folder in folders:
        files = {}
        for name in folder.names:
            rows = read_rows(folder.path / f"{name}.feather")
            files[name] = LoadedFile(rows, score_rows(rows, lemmatiser, borders))
        found.append(Loaded(folder, files, judging, _columns(files, columns or {})))
    return tuple(found)


def _columns(
    files: Mapping[str, LoadedFile], given: Mapping[str, Mapping[str, object]]
) -> dict[str, dict[str, object]]:
    """The columns of each question: those of the files, and those that are given over them."""
    columns: dict[str, dict[str, object]] = {}
    for file in files.values():
        for row in file.rows:
            columns.setdefault(row.uuid, dict(given.get(row.uuid, {}))).update(row.columns)
    return columns


def _scores_of(score: RowScore | None) -> dict[str, object]:
    names = ("accuracy", "exact_match", "lenient", "token_f1")
    if score is None:
        return {**dict.fromkeys(names, nan), "no_answer": False, "denied": False}
    numbers: dict[str, object] = {name: getattr(score, name) for name in names}
    return numbers | {"no_answer": score.no_answer, "denied": score.is_denied}

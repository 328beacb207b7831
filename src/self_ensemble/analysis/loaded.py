"""The results of one model on one data set, loaded and judged: what all analysis is written on.

    folder of files -> load -> Loaded.frame(file)        every row, with its scores
                                     .scores()           a row a file, with intervals
                                     .compare(a, b)      one file beside another
                                     .changed(kind, a)   the answers behind that
                                     .curve()            accuracy over the number of wordings
                                     .first_token_curve()   the same of rules fused again
                                     .robustness()       what hangs on the wording
                                     .groups(kind)       scores of each kind of question
                                     .agreement()        which methods answer alike
                                     .examples(rows)     questions with all that was said
                                     .calibration()      how far confidences can be trusted
                                     .made_with()        manifest and digest of every file

Nothing here needs the model, torch or the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from self_ensemble.analysis import curve as curves
from self_ensemble.analysis import provenance
from self_ensemble.analysis.agreement import (
    Agreement,
    agreement_of_files,
    agreement_of_wordings,
)
from self_ensemble.analysis.answered import AnsweredQuestion, answered, choose_examples
from self_ensemble.analysis.calibrated import Calibration, calibration_of
from self_ensemble.analysis.changed import (
    KINDS,
    ChangedAnswer,
    changed_answers,
    disagreeing,
    question_texts,
)
from self_ensemble.analysis.columns import values_of
from self_ensemble.analysis.comparison import Comparison, compare
from self_ensemble.analysis.curve import Curve
from self_ensemble.analysis.first_token import RULES, FirstTokenCurve, first_token_curve
from self_ensemble.analysis.groups import MADE, GroupRow, group_rows, made_groups
from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.analysis.robustness import Correlation, Robustness, correlations, robustness
from self_ensemble.analysis.score_rows import FileScoring, ScoreRow, with_holm
from self_ensemble.analysis.wording_matrix import PER_PROMPT, WordingMatrix, wording_matrix
from self_ensemble.errors import UserError, unknown_name
from self_ensemble.replaying.rules import REPLAY_RULES, WEIGHTED
from self_ensemble.replaying.stored import read_stored
from self_ensemble.scoring.calibration import NUM_RESAMPLES
from self_ensemble.scoring.folders import ResultFolder
from self_ensemble.scoring.lemmas import lemmatiser_named
from self_ensemble.scoring.scores import accuracy_by_question, values_by_question
from self_ensemble.scoring.statistics import Estimate, share_interval
from self_ensemble.scoring.words import borders_named

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_BASELINE = "origin"
MEASURES = ("accuracy", "exact_match", "lenient", "token_f1")


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

    @property
    def place(self) -> tuple[str, str]:
        """Names of the data set and of the model."""
        return self.folder.dataset, self.folder.model

    @property
    def fused(self) -> tuple[str, ...]:
        """The files that have one answer to a question."""
        files = self.files.items()
        return tuple(name for name, file in files if not file.scores.paraphrase_indices)

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
        return None if column is None else values_of(column, self.columns, self.title)

    def frame(self, name: str) -> "pd.DataFrame":
        """Every row of a file with its scores, as a table of pandas.

        The columns are `uuid`, `answers`, `prediction`, `error`, `accuracy`, `exact_match`,
        `lenient`, `token_f1`, `no_answer`, `denied`, `seconds`, `tokens`, `num_tokens`,
        `mean_logprob`, `paraphrase_index`, `wordings`, and the columns of the questions. An error
        row has scores of nan.

        Raises:
            UserError: There is no such file, or pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise UserError(
                'A frame needs pandas, which is not installed. Run: pip install "pandas>=2.3"',
                "SE-0015",
            ) from error
        return pd.DataFrame(self.file(name).records(self.columns))

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

    def changed(
        self, kind: str, ours: str, baseline: str | None = None
    ) -> tuple[ChangedAnswer, ...]:
        """The questions that a file answers otherwise than a baseline, with all that was said.

        Args:
            kind: "gained" (right, and wrong in the baseline), "lost", "new" (right although no
                wording alone was), or "disagree" (other words, right or wrong).
            ours: The file.
            baseline: The baseline; None for `origin`.

        Raises:
            UserError: There is no such kind or file, no baseline, or no `per_prompt` for "new".
        """
        if kind not in KINDS:
            raise unknown_name("kind of rows", kind, KINDS)
        if self.file(ours).scores.paraphrase_indices:
            raise UserError(
                f"{ours} has an answer for each wording, so none that changed. Name another file.",
                "SE-0904",
            )
        reference = self.baseline(baseline)
        if reference is None:
            raise UserError(
                f"{self.title} has no origin.feather to compare with. Name another --baseline.",
                "SE-0904",
            )
        if kind == "disagree":
            uuids = disagreeing(self.file(ours), self.file(reference))
        else:
            found = getattr(self.compare(ours, reference), kind)
            if found is None:
                raise UserError(
                    f"{self.title} has no per_prompt.feather, which says what each wording alone "
                    "answers. Run `self-ensemble generate --method per_prompt`.",
                    "SE-0904",
                )
            uuids = found
        return changed_answers(uuids, (ours, reference), self.files)

    def curve(self, cluster: str | None = None, seed: int = 0) -> Curve:
        """Accuracy over the number of wordings: votes of subsets, oracles, runs of several N.

        Args:
            cluster: Column whose values are resampled whole; None resamples questions.
            seed: Seed of the subsets, where there are too many to count all.

        Raises:
            UserError: There is no such column.
        """
        return curves.curve(
            self.matrix(),
            {name: self.accuracies(name) for name in self.files},
            confidence=self.judging.confidence,
            clusters=self.clusters(cluster),
            seed=seed,
        )

    def first_token_curve(
        self,
        rules: Sequence[str] = RULES,
        file: str | None = None,
        cluster: str | None = None,
        seed: int = 0,
    ) -> FirstTokenCurve | None:
        """The first answer token over the number of wordings, fused again by any rule.

        It needs what `generate --save-logprobs` kept, and no run of the rules. It says how often
        the first token begins an accepted answer, which is not how often the answer is right.

        Args:
            rules: Built-in fusion rules that read no weights.
            file: File of log-probabilities, without `.feather`; None for the one with most
                wordings, the first of equals.
            cluster: Column whose values are resampled whole; None resamples questions.
            seed: Seed of the subsets, where there are too many to count all.

        Returns:
            The curve; None where nothing was kept and no file is named.

        Raises:
            UserError: There is no such rule, file or column, or the file is damaged.
        """
        without_weights = [name for name in REPLAY_RULES if name not in WEIGHTED]
        for rule in rules:
            if rule not in without_weights:
                raise unknown_name("fusion rule without weights", rule, without_weights)
        names = self.folder.logprobs
        if file is not None and file not in names:
            raise unknown_name("file of log-probabilities", file, names)
        kept = {
            name: read_stored(self.folder.path / f"{name}.feather")
            for name in (names if file is None else [file])
        }
        if not kept:
            return None
        name = max(kept, key=lambda one: len(kept[one].indices))
        return first_token_curve(
            name,
            kept[name],
            self._wordings_alone(),
            rules,
            confidence=self.judging.confidence,
            clusters=self.clusters(cluster),
            seed=seed,
        )

    def robustness(self, cluster: str | None = None) -> Robustness | None:
        """What hangs on the wording; None where there is no `per_prompt` file.

        Raises:
            UserError: There is no such column to cluster by.
        """
        matrix = self.matrix()
        if matrix is None:
            return None
        return robustness(
            matrix, confidence=self.judging.confidence, clusters=self.clusters(cluster)
        )

    def correlations(self) -> tuple[Correlation, ...]:
        """Where fusing helps: a row for each fused file; none where there is no `per_prompt`."""
        matrix = self.matrix()
        if matrix is None:
            return ()
        accuracies = {n: self.accuracies(n) for n in self.fused if n != DEFAULT_BASELINE}
        return correlations(matrix, accuracies, self.judging.confidence)

    def groups(self, kind: str, baseline: str | None = None) -> tuple[GroupRow, ...]:
        """Scores of each file on each kind of question.

        Args:
            kind: "answer_type", "answer_length", "question_length", or a column of the questions.
            baseline: File to compare with; None for `origin` where there is one.

        Raises:
            UserError: There is no such kind or baseline.
        """
        if kind in MADE:
            answers = {row.uuid: row.answers for file in self.files.values() for row in file.rows}
            groups = made_groups(kind, answers, question_texts(self.files))
        else:
            groups = self.clusters(kind) or {}
        accuracies = {name: self.accuracies(name) for name in self.files}
        return group_rows(groups, accuracies, self.baseline(baseline), self.judging.confidence)

    def estimate(self, name: str, measure: str, cluster: str | None = None) -> Estimate:
        """The mean of a score over the questions of a file, with its interval.

        Args:
            name: The file.
            measure: "accuracy", "exact_match", "lenient" or "token_f1".
            cluster: Column whose values are resampled whole; None resamples questions.

        Raises:
            UserError: There is no such file, score or column.
        """
        if measure not in MEASURES:
            raise unknown_name("score", measure, MEASURES)
        values = values_by_question(self.file(name).scores, measure)
        clusters = self.clusters(cluster)
        return share_interval(
            list(values.values()),
            self.judging.confidence,
            clusters=None if clusters is None else [clusters[uuid] for uuid in values],
        )

    def agreement(self) -> Agreement:
        """How often two files that have one answer to a question say the same."""
        fused = {name: self.files[name] for name in self.fused}
        return agreement_of_files(fused, self.judging.confidence)

    def wording_agreement(self) -> Agreement | None:
        """How often two wordings alone say the same; None where there is no `per_prompt` file."""
        matrix = self.matrix()
        return None if matrix is None else agreement_of_wordings(matrix, self.judging.confidence)

    def examples(self, rows: Sequence[ScoreRow], number: int = 20) -> tuple[AnsweredQuestion, ...]:
        """Questions of every kind with all that was said to them; see `choose_examples`.

        Args:
            rows: What `scores` gives: they say what was gained and lost.
            number: How many at most.
        """
        compared = [
            row.comparison for row in rows if row.comparison is not None and row.file in self.fused
        ]
        return answered(choose_examples(self.files, compared, number), self.files, compared)

    def calibration(self, num_resamples: int = NUM_RESAMPLES) -> Calibration:
        """How far the confidences of every file can be trusted.

        Args:
            num_resamples: Resamples that the intervals are made of.

        Raises:
            UserError: A confidence file cannot be read.
        """
        return calibration_of(
            self.folder,
            self.files,
            lemmatiser_named(self.judging.lemmatiser),
            borders_named(self.judging.words),
            confidence=self.judging.confidence,
            num_resamples=num_resamples,
        )

    def made_with(self) -> tuple[provenance.MadeWith, ...]:
        """The manifest and digest of every result and confidence file.

        Raises:
            UserError: A file cannot be read.
        """
        return provenance.made_with(
            self.folder.path, (*self.folder.names, *self.folder.confidences)
        )

    def matrix(self) -> WordingMatrix | None:
        """Every wording's own answers, side by side; None where there is no `per_prompt` file."""
        file = self.files.get(PER_PROMPT)
        return None if file is None else wording_matrix(file.rows, file.scores)

    def baseline(self, wanted: str | None = None) -> str | None:
        """The file to compare with: the wanted one, or `origin` if there is one, or None."""
        if wanted is not None:
            self.file(wanted)
            return wanted
        return DEFAULT_BASELINE if DEFAULT_BASELINE in self.files else None

    def _wordings_alone(self) -> dict[tuple[str, int | None], float]:
        file = self.files.get(PER_PROMPT)
        return {} if file is None else {key: one.accuracy for key, one in file.score_of().items()}

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

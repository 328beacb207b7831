"""One line of the score table: a result file, or one wording of it, beside a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

from self_ensemble.analysis.comparison import Comparison, compare
from self_ensemble.analysis.significance import holm
from self_ensemble.scoring.folders import ResultFolder
from self_ensemble.scoring.scores import (
    FileScores,
    accuracy_by_question,
    answer_tokens_per_question,
    exact_match_of,
    lenient_of,
    seconds_per_question,
    token_f1_of,
    tokens_per_question,
)
from self_ensemble.scoring.statistics import Estimate, share_interval


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
        tokens: Mean number of tokens that a question sends through the model by this method alone;
            nan if unknown, as in results of earlier versions.
        answer_tokens: Mean number of tokens in the answers to a question; nan if unknown.
        comparison: With the baseline; None for the baseline itself and where there is none.
        p_holm: The comparison's p-value, corrected for all rows of the table; nan if unknown.
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
    tokens: float
    answer_tokens: float
    comparison: Comparison | None
    p_holm: float = nan

    @property
    def difference(self) -> Estimate | None:
        """Accuracy minus the baseline's over the questions scored in both, -1 to 1."""
        return None if self.comparison is None else self.comparison.difference

    @property
    def name(self) -> str:
        """The file, and the wording where it is one."""
        index = self.paraphrase_index
        return self.file if index is None else f"{self.file} #{index}"


@dataclass(frozen=True, slots=True)
class FileScoring:
    """What all rows of one folder have in common.

    Attributes:
        folder: The folder.
        baseline: The file that the others are compared with; None if there is none.
        baseline_accuracy: Its accuracy of each question, by uuid.
        any_wording: Whether any wording alone was right, by uuid; None if unknown.
        confidence: Coverage of the intervals.
        clusters: The cluster of each question; None if questions are independent.
    """

    folder: ResultFolder
    baseline: str | None
    baseline_accuracy: Mapping[str, float]
    any_wording: Mapping[str, bool] | None
    confidence: float
    clusters: Mapping[str, str] | None

    def row(self, name: str, scores: FileScores, index: int | None = None) -> ScoreRow:
        """Score a file, or the part of it that asked one wording."""
        by_question = accuracy_by_question(scores)
        clusters = self.clusters
        comparison = None
        if self.baseline is not None and name != self.baseline:
            comparison = compare(
                (name, self.baseline),
                by_question,
                self.baseline_accuracy,
                any_wording=self.any_wording,
                confidence=self.confidence,
                clusters=clusters,
            )
        return ScoreRow(
            dataset=self.folder.dataset,
            model=self.folder.model,
            file=name,
            paraphrase_index=index,
            num_scored=len(by_question),
            num_errors=scores.num_errors,
            num_no_answer=scores.num_no_answer,
            num_denied=scores.num_denied,
            accuracy=share_interval(
                list(by_question.values()),
                self.confidence,
                clusters=None if clusters is None else [clusters[uuid] for uuid in by_question],
            ),
            exact_match=exact_match_of(scores),
            lenient=lenient_of(scores),
            token_f1=token_f1_of(scores),
            seconds=seconds_per_question(scores),
            tokens=tokens_per_question(scores),
            answer_tokens=answer_tokens_per_question(scores),
            comparison=comparison,
        )


def with_holm(rows: Sequence[ScoreRow]) -> tuple[ScoreRow, ...]:
    """The rows of one table, their p-values corrected for their number."""
    corrected = holm([nan if row.comparison is None else row.comparison.p_value for row in rows])
    return tuple(replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True))

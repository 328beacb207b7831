"""How much hangs on the wording: fluctuation, consistency, overconfidence, and where fusing helps.

The measures of BELIEF (Zhao, Yoshinaga, Oba 2024, arXiv 2406.12277), for answers as texts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan
from statistics import fmean, stdev

import numpy as np
from scipy.stats import pearsonr

from self_ensemble.analysis.wording_matrix import Floats, WordingMatrix, pairwise_agreement
from self_ensemble.scoring.statistics import Estimate, mean_interval

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Robustness:
    """What the wordings of a `per_prompt` file have in common, and what not.

    Estimates are means over questions, with intervals over questions.

    Attributes:
        num_questions: Questions that every wording has an answer to, of which all numbers are.
        num_wordings: N.
        accuracy: Mean over wordings.
        lowest: Accuracy of the worst wording.
        highest: Accuracy of the best wording.
        deviation: Standard deviation of the wordings' accuracies; nan for one wording.
        consistency: Share of the pairs of wordings that give the same answer.
        overconfidence: Mean confidence exp(mean log-probability) minus accuracy; above 0 the
            model is surer than right.
        lexical_diversity: 1 minus the overlap (Jaccard) of the words of two wordings, over pairs.
        distinct_answers: Number of different answers to a question.
    """

    num_questions: int
    num_wordings: int
    accuracy: Estimate
    lowest: float
    highest: float
    deviation: float
    consistency: Estimate
    overconfidence: Estimate
    lexical_diversity: Estimate
    distinct_answers: Estimate

    @property
    def fluctuation(self) -> float:
        """Accuracy of the best wording minus that of the worst."""
        return self.highest - self.lowest


@dataclass(frozen=True, slots=True)
class Correlation:
    """How the gain of a fused file goes with something, over questions.

    Attributes:
        file: The file. Its gain is its accuracy minus the mean over the wordings alone.
        lexical_diversity: Pearson's correlation with the diversity of the wordings' words.
        answer_diversity: The same with the share of pairs of wordings that answer differently.
        mean_accuracy: The same with the mean accuracy of the wordings. It is subtracted in
            the gain, so that chance alone pulls this one down.
    """

    file: str
    lexical_diversity: Estimate
    answer_diversity: Estimate
    mean_accuracy: Estimate


def robustness(
    matrix: WordingMatrix,
    *,
    confidence: float = 0.95,
    clusters: Mapping[str, str] | None = None,
) -> Robustness:
    """Measure how much hangs on the wording.

    Args:
        matrix: The answers of the wordings alone.
        confidence: Coverage of the intervals.
        clusters: The cluster of each question; None if questions are independent.
    """

    def mean(values: Floats) -> Estimate:
        known = ~np.isnan(values)
        of_each = None
        if clusters is not None:
            of_each = [clusters[uuid] for uuid, ok in zip(matrix.uuids, known, strict=True) if ok]
        return mean_interval(values[known].tolist(), confidence, clusters=of_each)

    by_wording = matrix.right.mean(0).tolist() if matrix.uuids else []
    return Robustness(
        num_questions=len(matrix.uuids),
        num_wordings=len(matrix.indices),
        accuracy=mean(_mean_accuracy(matrix)),
        lowest=min(by_wording, default=nan),
        highest=max(by_wording, default=nan),
        deviation=stdev(by_wording) if len(by_wording) > 1 else nan,
        consistency=mean(pairwise_agreement(matrix)),
        overconfidence=mean(_overconfidence(matrix)),
        lexical_diversity=mean(lexical_diversity(matrix)),
        distinct_answers=mean(_distinct_answers(matrix)),
    )


def correlations(
    matrix: WordingMatrix,
    accuracies: Mapping[str, Mapping[str, float]],
    confidence: float = 0.95,
) -> tuple[Correlation, ...]:
    """See where fusing helps: correlations of each file's gain, over questions.

    Args:
        matrix: The answers of the wordings alone.
        accuracies: Accuracy of each question in each file.
        confidence: Coverage of the intervals, which are Fisher's.
    """
    wordings, answers = lexical_diversity(matrix), 1 - pairwise_agreement(matrix)
    mean_accuracy = _mean_accuracy(matrix)
    found = []
    for name, of_question in accuracies.items():
        fused = np.array([of_question.get(uuid, nan) for uuid in matrix.uuids])
        gain = fused - mean_accuracy
        found.append(
            Correlation(
                name,
                _correlation(gain, wordings, confidence),
                _correlation(gain, answers, confidence),
                _correlation(gain, mean_accuracy, confidence),
            )
        )
    return tuple(found)


def lexical_diversity(matrix: WordingMatrix) -> Floats:
    """1 minus the mean overlap of the words of two wordings, `(Q,)`; nan where unknown."""
    return np.array([_diversity(line) for line in matrix.wordings], dtype=np.float64)


def _diversity(wordings: Sequence[str]) -> float:
    words = [frozenset(_WORD.findall(text.casefold())) for text in wordings]
    if len(words) < 2 or not all(words):
        return nan
    return fmean(1 - len(a & b) / len(a | b) for a, b in combinations(words, 2))


def _mean_accuracy(matrix: WordingMatrix) -> Floats:
    if not matrix.indices:
        return np.zeros(0)
    return np.asarray(matrix.right.mean(1), dtype=np.float64)


def _overconfidence(matrix: WordingMatrix) -> Floats:
    """Confidence minus right or wrong, over the wordings whose confidence is known, `(Q,)`."""
    # No answer has a probability of 0: that stands for one that is not known.
    known = matrix.prob > 0
    excess = np.where(known, matrix.prob - matrix.right, 0.0).sum(1)
    number = known.sum(1)
    mean: Floats = np.divide(excess, number, out=np.full(len(number), nan), where=number > 0)
    return mean


def _distinct_answers(matrix: WordingMatrix) -> Floats:
    return np.array([len(set(line)) for line in matrix.answer.tolist()], dtype=np.float64)


def _correlation(one: Floats, other: Floats, confidence: float) -> Estimate:
    known = ~(np.isnan(one) | np.isnan(other))
    x, y = one[known], other[known]
    # Fisher's interval needs four pairs; what does not vary goes with nothing.
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(nan, nan, nan, len(x))
    result = pearsonr(x, y)
    low, high = result.confidence_interval(confidence)
    return Estimate(float(result.statistic), float(low), float(high), len(x))

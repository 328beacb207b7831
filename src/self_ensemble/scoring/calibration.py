"""How far a confidence can be trusted: calibration, and the ranking of right above wrong answers.

Every measure is a function of `Levels`: the answers counted by distinct value of confidence.
Answers of equal confidence are one level, so no measure depends on the order of rows, and what an
order of ties would decide is averaged over all orders. A leading axis of the counts carries
resamples.

    n answers to Q questions, K levels of confidence, M bins, R resamples
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from self_ensemble.errors import UserError

DEFAULT_NUM_BINS = 10
# Each resample is a pass over all levels. The standard error of an interval's ends is then 3 % of
# its half width.
NUM_RESAMPLES = 2_000
# Counts in memory at a time: 8 MB of floats in each array.
_COUNTED_AT_ONCE = 1_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Levels:
    """Answers counted by level of confidence, the surest level first.

    Attributes:
        confidence: Distinct values from 0 to 1, descending, `(K,)`.
        num_answers: Answers of each level, `(..., K)`.
        num_right: Right answers of each level, `(..., K)`.
    """

    confidence: Floats
    num_answers: Floats
    num_right: Floats


class Bins(NamedTuple):
    """Levels put together in bins of equal width.

    Attributes:
        edges: Ends of the bins, `(M + 1,)`; a bin holds its upper end, the first also 0.
        num_answers: Answers of each bin, `(..., M)`.
        accuracy: Share of right answers, `(..., M)`; nan in an empty bin.
        confidence: Mean confidence, `(..., M)`; nan in an empty bin.
    """

    edges: Floats
    num_answers: Floats
    accuracy: Floats
    confidence: Floats


def count_levels(confidences: Sequence[float], rights: Sequence[bool]) -> Levels:
    """Count answers by their confidence.

    Args:
        confidences: Of each answer, from 0 to 1, `(n,)`.
        rights: Whether each answer is right, `(n,)`.

    Raises:
        ValueError: A confidence is not between 0 and 1.
    """
    level, values = _levels(confidences)
    num_answers, num_right = np.zeros_like(values), np.zeros_like(values)
    np.add.at(num_answers, level, 1)
    np.add.at(num_right, level, np.asarray(rights, dtype=np.float64))
    return Levels(values, num_answers, num_right)


def accuracy(levels: Levels) -> Floats:
    """Share of right answers, `(...)`; nan where there is no answer."""
    return _ratio(levels.num_right.sum(-1), levels.num_answers.sum(-1))


def mean_confidence(levels: Levels) -> Floats:
    """Mean confidence, `(...)`; nan where there is no answer."""
    return _ratio(levels.num_answers @ levels.confidence, levels.num_answers.sum(-1))


def reliability_bins(levels: Levels, num_bins: int = DEFAULT_NUM_BINS) -> Bins:
    """Put the answers into bins of equal width of confidence.

    Raises:
        UserError: There is not at least one bin.
    """
    edges, in_bin = _bins(levels, num_bins)
    num_answers = levels.num_answers @ in_bin
    return Bins(
        edges,
        num_answers,
        _ratio(levels.num_right @ in_bin, num_answers),
        _ratio((levels.num_answers * levels.confidence) @ in_bin, num_answers),
    )


def expected_calibration_error(levels: Levels, num_bins: int = DEFAULT_NUM_BINS) -> Floats:
    """Mean distance of accuracy and confidence over bins, weighted by their answers, `(...)`.

    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; bins
    closed above as in Guo et al. 2017, arXiv 1706.04599. 0 is best. nan where there is no answer.

    Raises:
        UserError: There is not at least one bin.
    """
    _, in_bin = _bins(levels, num_bins)
    gaps = (levels.num_right - levels.num_answers * levels.confidence) @ in_bin
    return _ratio(np.abs(gaps).sum(-1), levels.num_answers.sum(-1))


def brier_score(levels: Levels) -> Floats:
    """Mean squared distance of confidence and 1 (right) or 0 (wrong), `(...)`.

    Brier 1950, "Verification of Forecasts Expressed in Terms of Probability". 0 is best, always
    saying 0.5 gives 0.25. nan where there is no answer.
    """
    num_wrong = levels.num_answers - levels.num_right
    squares = levels.num_right @ (1 - levels.confidence) ** 2 + num_wrong @ levels.confidence**2
    return _ratio(squares, levels.num_answers.sum(-1))


def auroc(levels: Levels) -> Floats:
    """Probability that a right answer is surer than a wrong one, a tie counting half, `(...)`.

    The area under the ROC curve (Hanley and McNeil 1982). 1 is best, 0.5 is chance. nan where no
    answer is right or none is wrong.
    """
    num_right = levels.num_right
    num_wrong = levels.num_answers - num_right
    less_sure = num_wrong.sum(-1)[..., None] - num_wrong.cumsum(-1)
    won = (num_right * (less_sure + num_wrong / 2)).sum(-1)
    return _ratio(won, num_right.sum(-1) * num_wrong.sum(-1))


def risk_coverage(levels: Levels) -> tuple[Floats, Floats]:
    """Error rate among the surest answers, for every number of answers kept.

    The risk-coverage curve of El-Yaniv and Wiener 2010, "On the Foundations of Noise-free
    Selective Classification". Among equals the expected risk over all orders is taken.

    Args:
        levels: Without a leading axis.

    Returns:
        Coverage (share of the n answers that is kept) and risk, both `(n,)`.
    """
    sizes = levels.num_answers.astype(np.int64)
    wrong = np.repeat(1 - _ratio(levels.num_right, levels.num_answers), sizes)
    ranks = np.arange(1, wrong.size + 1)
    return ranks / wrong.size, wrong.cumsum() / ranks


def aurc(levels: Levels) -> Floats:
    """Area under the risk-coverage curve: its mean risk, `(...)`.

    Geifman and El-Yaniv 2017, arXiv 1705.08500. 0 is best; a confidence that says nothing gives
    the error rate. nan where there is no answer.
    """
    sizes = levels.num_answers.astype(np.int64)
    wrong = levels.num_answers - levels.num_right
    # Risk at rank before + j of a level with error rate r is (W + j r) / (before + j), W wrong
    # before it, which is r + (W - before r) / (before + j): its sum over j needs only harmonics.
    after = sizes.cumsum(-1)
    before = after - sizes
    wrong_before = wrong.cumsum(-1) - wrong
    rate = np.divide(wrong, sizes, out=np.zeros_like(wrong), where=sizes > 0)
    harmonic = np.concatenate([[0.0], (1 / np.arange(1, after.max(initial=0) + 1)).cumsum()])
    risks = wrong + (wrong_before - before * rate) * (harmonic[after] - harmonic[before])
    return _ratio(risks.sum(-1), levels.num_answers.sum(-1))


def accuracy_at_coverage(levels: Levels, coverage: float) -> Floats:
    """Share of right answers among the surest `coverage` of all answers, `(...)`.

    As many answers are kept as the coverage needs, rounded up. nan where there is no answer.

    Args:
        levels: The answers.
        coverage: Share that is kept, above 0 and at most 1.
    """
    sizes = levels.num_answers
    # 0.55 * 100 is a little more than 55 and would keep 56.
    kept = np.ceil(coverage * sizes.sum(-1) - 1e-9)[..., None]
    taken = np.clip(kept - (sizes.cumsum(-1) - sizes), 0, sizes)
    rate = np.divide(levels.num_right, sizes, out=np.zeros_like(taken), where=sizes > 0)
    return _ratio((taken * rate).sum(-1), kept[..., 0])


def bootstrap_measures(
    confidences: Sequence[float],
    rights: Sequence[bool],
    questions: Sequence[str],
    measures: Mapping[str, Callable[[Levels], Floats]],
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Floats]:
    """Measure resamples of whole questions, because wordings of one question are not independent.

    The cluster bootstrap (Davison and Hinkley 1997, section 3.8).

    Args:
        confidences: Of each answer, from 0 to 1, `(n,)`.
        rights: Whether each answer is right, `(n,)`.
        questions: The question of each answer, `(n,)`.
        measures: Functions of levels with a leading axis.
        seed: Seed of the resampling.
        num_resamples: R.

    Returns:
        The values of every measure, `(R,)`; nan where a resample does not define it.
    """
    values: dict[str, list[Floats]] = {name: [] for name in measures}
    for levels in _resamples(confidences, rights, questions, seed, num_resamples):
        for name, measure in measures.items():
            values[name].append(measure(levels))
    return {name: np.concatenate(parts) for name, parts in values.items()}


def _resamples(
    confidences: Sequence[float],
    rights: Sequence[bool],
    questions: Sequence[str],
    seed: int,
    num_resamples: int,
) -> Iterator[Levels]:
    level, values = _levels(confidences)
    # Sorted by name, so that the order of rows does not change what is drawn.
    names, question = np.unique(np.asarray(questions), return_inverse=True)
    shape = (len(values), len(names))
    answers = csr_array((np.ones(len(level)), (level, question)), shape=shape)
    right = csr_array((np.asarray(rights, dtype=np.float64), (level, question)), shape=shape)
    rng = np.random.default_rng(seed)
    at_once = max(1, _COUNTED_AT_ONCE // max(shape))
    for start in range(0, num_resamples, at_once):
        num_drawn = min(at_once, num_resamples - start)
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_drawn)
        yield Levels(values, _counted(answers, times), _counted(right, times))


def _counted(counts: csr_array, times: NDArray[np.int64]) -> Floats:
    """Sum counts `(K, Q)` over questions, each as often as drawn `(R, Q)`, into `(R, K)`."""
    summed: Floats = np.asarray(counts @ times.T.astype(np.float64)).T
    return summed


def _levels(confidences: Sequence[float]) -> tuple[NDArray[np.intp], Floats]:
    """Level of each answer, `(n,)`, and the levels' confidences, descending, `(K,)`."""
    given = np.asarray(confidences, dtype=np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("Every confidence must be a number from 0 to 1.")
    negated, level = np.unique(-given, return_inverse=True)
    return level, -negated


def _bins(levels: Levels, num_bins: int) -> tuple[Floats, Floats]:
    """Ends of the bins, `(M + 1,)`, and which level is in which bin, 0 or 1, `(K, M)`."""
    if num_bins < 1:
        raise UserError(f"Got {num_bins} bins. Give 1 or more, as 10.", "SE-0010")
    # i / M is the float nearest to the fraction, as is a confidence of 30 of 100: they meet.
    edges = np.arange(num_bins + 1) / num_bins
    bin_of_level = np.searchsorted(edges[1:-1], levels.confidence, side="left")
    return edges, np.eye(num_bins)[bin_of_level]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; nan where the denominator is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    ratio: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return ratio

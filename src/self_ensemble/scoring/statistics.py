"""Means and paired differences with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from self_ensemble.errors import UserError

NUM_RESAMPLES = 10_000
# Counts in memory at a time: 8 MB.
_COUNTED_AT_ONCE = 1_000_000
# Counting more kinds of units takes longer than drawing the units one by one.
_MOST_COUNTED = 200

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean with its interval.

    Attributes:
        value: The mean; nan if there is nothing to average.
        low: Lower end of the interval; nan if there are fewer than two values or clusters.
        high: Upper end of the interval, as `low`.
        n: Number of values, or of pairs.
    """

    value: float
    low: float
    high: float
    n: int


def mean_interval(
    values: Sequence[float],
    confidence: float = 0.95,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
) -> Estimate:
    """Mean with its percentile bootstrap interval (Efron 1979).

    Values are resampled one by one, or by whole clusters where those of a cluster are not
    independent (the cluster bootstrap; Davison and Hinkley 1997, section 3.8). Values that are all
    equal give an interval of width 0. The order of the values does not matter.

    Args:
        values: One number per question.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling.
        clusters: For each value the name of its cluster; None if all are independent.

    Raises:
        UserError: The confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UserError(
            f"Got confidence {confidence}. Give a number between 0 and 1, as 0.95.", "SE-0010"
        )
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return Estimate(nan, nan, nan, 0)
    sums, sizes, times = _units(data, clusters)
    value = float(sums @ times / (sizes @ times))
    if times.sum() == 1:
        return Estimate(value, nan, nan, data.size)
    if data.min() == data.max():
        return Estimate(float(data[0]), float(data[0]), float(data[0]), data.size)
    means = _resampled_means(sums, sizes, times, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), data.size)


def share_interval(
    values: Sequence[float], confidence: float = 0.95, clusters: Sequence[str] | None = None
) -> Estimate:
    """Share of right answers, or mean share over wordings, with its interval.

    That of `mean_interval`; but where all answers are right, or all wrong, resamples are all alike
    and say nothing, and the exact binomial interval stands in (Clopper and Pearson 1934).

    Args:
        values: One number from 0 to 1 per question.
        confidence: Coverage of the interval, between 0 and 1.
        clusters: As of `mean_interval`; of clusters the interval has no width there.
    """
    estimate = mean_interval(values, confidence, clusters=clusters)
    if clusters is not None or estimate.n < 2 or estimate.value not in (0.0, 1.0):
        return estimate
    reach = ((1 - confidence) / 2) ** (1 / estimate.n)
    if estimate.value:
        return estimate._replace(low=reach)
    return estimate._replace(high=1 - reach)


def paired_difference(
    ours: Mapping[str, float],
    baseline: Mapping[str, float],
    confidence: float = 0.95,
    seed: int = 0,
    clusters: Mapping[str, str] | None = None,
) -> Estimate:
    """Mean of `ours` minus `baseline` over the questions that both have, with its interval.

    Resampling whole questions keeps what makes a question easy or hard for both out of the
    interval, so it is narrower than that of two separate means.

    Args:
        ours: Score of each question, by uuid.
        baseline: Score of each question to compare with, by uuid.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling.
        clusters: The cluster of each question, by uuid; None if questions are independent.
    """
    common = [uuid for uuid in ours if uuid in baseline]
    differences = [ours[uuid] - baseline[uuid] for uuid in common]
    of_each = None if clusters is None else [clusters[uuid] for uuid in common]
    return mean_interval(differences, confidence, seed, of_each)


def _units(data: Floats, clusters: Sequence[str] | None) -> tuple[Floats, Floats, Floats]:
    """What is resampled, equal units put together: their sums, sizes, and how many there are.

    The mean of a resample depends on how often each different unit is drawn and on nothing else,
    so that 10,000 questions that are right or wrong are two units.
    """
    if clusters is None:
        kinds, times = np.unique(data, return_counts=True)
        return kinds, np.ones_like(kinds), times.astype(np.float64)
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    sums, sizes = np.bincount(cluster, weights=data), np.bincount(cluster).astype(np.float64)
    kinds, times = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)
    return kinds[:, 0], kinds[:, 1], times.astype(np.float64)


def _resampled_means(
    sums: Floats, sizes: Floats, times: Floats, rng: np.random.Generator
) -> Floats:
    num_units = int(times.sum())
    counted = len(times) <= _MOST_COUNTED
    each = None if counted else np.repeat(np.arange(len(times)), times.astype(np.int64))
    at_once = max(1, _COUNTED_AT_ONCE // (len(times) if counted else num_units))
    means = []
    for start in range(0, NUM_RESAMPLES, at_once):
        num_drawn = min(at_once, NUM_RESAMPLES - start)
        if each is None:
            drawn = rng.multinomial(num_units, times / num_units, size=num_drawn)
            means.append((drawn @ sums) / (drawn @ sizes))
        else:
            units = each[rng.integers(0, num_units, size=(num_drawn, num_units))]
            means.append(sums[units].sum(1) / sizes[units].sum(1))
    return np.concatenate(means)

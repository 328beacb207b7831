"""Means and paired differences with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from self_ensemble.errors import UserError

NUM_RESAMPLES = 10_000
# Drawn values in memory at a time: 8 MB of floats and as much of indices.
_DRAWN_AT_ONCE = 1_000_000


class Estimate(NamedTuple):
    """A mean with its interval.

    Attributes:
        value: The mean; nan if there is nothing to average.
        low: Lower end of the interval; nan if there are fewer than two values.
        high: Upper end of the interval, as `low`.
        n: Number of values, or of pairs.
    """

    value: float
    low: float
    high: float
    n: int


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Mean of independent values with its percentile bootstrap interval (Efron 1979).

    Values that are all equal give an interval of width 0. The order of the values does not matter.

    Args:
        values: One number per question.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling.

    Raises:
        UserError: The confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UserError(f"Got confidence {confidence}. Give a number between 0 and 1, as 0.95.")
    data = np.sort(np.asarray(values, dtype=np.float64))
    if data.size == 0:
        return Estimate(nan, nan, nan, 0)
    if data.size == 1:
        return Estimate(float(data[0]), nan, nan, 1)
    if data[0] == data[-1]:  # scipy warns of a degenerate distribution
        return Estimate(float(data[0]), float(data[0]), float(data[0]), data.size)
    interval = bootstrap(
        (data,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        batch=max(1, _DRAWN_AT_ONCE // data.size),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(float(data.mean()), float(interval.low), float(interval.high), data.size)


def paired_difference(
    ours: Mapping[str, float],
    baseline: Mapping[str, float],
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of `ours` minus `baseline` over the questions that both have, with its interval.

    Resampling whole questions keeps what makes a question easy or hard for both out of the
    interval, so it is narrower than that of two separate means.

    Args:
        ours: Score of each question, by uuid.
        baseline: Score of each question to compare with, by uuid.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling.
    """
    differences = [value - baseline[uuid] for uuid, value in ours.items() if uuid in baseline]
    return mean_interval(differences, confidence, seed)

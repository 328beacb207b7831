"""One difference over several data sets: random effects, because data sets are not alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import norm

from self_ensemble.scoring.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Pooled:
    """A difference over data sets.

    Attributes:
        difference: The mean over data sets such as these, with its interval; n data sets.
        p_value: Of the test that this mean is 0, two-sided.
        tau: Standard deviation of the true differences between data sets.
        i_squared: Share of the variance that is between data sets and not chance, 0 to 1.
    """

    difference: Estimate
    p_value: float
    tau: float
    i_squared: float


def random_effects(
    differences: Sequence[float], variances: Sequence[float], confidence: float = 0.95
) -> Pooled:
    """Pool differences by the method of DerSimonian and Laird 1986.

    The interval is the normal one, which is short where there are few data sets.

    Args:
        differences: Of each data set.
        variances: Squared standard error of each, above 0.
        confidence: Coverage of the interval.

    Raises:
        ValueError: There are no two data sets, or a variance is not above 0.
    """
    effects, within = np.asarray(differences, float), np.asarray(variances, float)
    if len(effects) < 2 or len(effects) != len(within) or not (within > 0).all():
        raise ValueError(
            f"Got {len(effects)} differences and variances {list(variances)}. "
            "Give two data sets or more, each with a variance above 0."
        )
    fixed = 1 / within
    mean = float(fixed @ effects / fixed.sum())
    q = float(fixed @ (effects - mean) ** 2)
    spread = q - (len(effects) - 1)
    scale = float(fixed.sum() - (fixed**2).sum() / fixed.sum())
    tau_squared = max(0.0, spread / scale)
    weights = 1 / (within + tau_squared)
    value, error = float(weights @ effects / weights.sum()), 1 / sqrt(float(weights.sum()))
    half = float(norm.ppf(0.5 + confidence / 2)) * error
    return Pooled(
        Estimate(value, value - half, value + half, len(effects)),
        p_value=float(2 * norm.sf(abs(value) / error)),
        tau=sqrt(tau_squared),
        i_squared=max(0.0, spread / q) if q > 0 else 0.0,
    )

"""Whether a paired difference is more than chance, and how small a one could have been seen."""

from collections.abc import Mapping, Sequence
from math import ceil, isnan, log2, nan, sqrt

import numpy as np
from scipy.stats import binomtest, norm

# The power that is asked of "could have been shown", as is usual.
POWER = 0.8


def mcnemar_exact(num_gained: int, num_lost: int) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar 1947): are gains and losses as likely?

    Under that assumption the questions on which two methods differ are tosses of a fair coin.
    Without any such question p is 1.
    """
    num_differing = num_gained + num_lost
    if num_differing == 0:
        return 1.0
    return float(binomtest(min(num_gained, num_lost), num_differing, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number: Holm's step-down method (Holm 1979).

    Args:
        p_values: Of the tests of one family; nan where there was no test, which does not count.

    Returns:
        Corrected p-values in the same order. Refusing those below a level is wrong at all, over
        the whole family, at most that often, whatever their dependence.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if not isnan(p))
    corrected = [nan] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[place] = largest
    return corrected


def detectable_difference(
    differences: Mapping[str, float],
    confidence: float = 0.95,
    clusters: Mapping[str, str] | None = None,
) -> float:
    """The smallest mean difference that as many questions show in four of five samples.

    It is (z of the confidence + z of the power) standard errors; but never less than what
    McNemar's exact test can call more than chance at all, which takes six questions at 95 %.

    Args:
        differences: Of each question, ours minus the baseline's, by uuid.
        confidence: 1 minus the level of the test.
        clusters: The cluster of each question; None if questions are independent.

    Returns:
        From 0 to 1; nan where there are fewer than two questions or clusters.
    """
    error = standard_error(differences, clusters)
    if isnan(error):
        return nan
    level = 1 - confidence
    needed = norm.ppf(1 - level / 2) + norm.ppf(POWER)
    least = ceil(1 - log2(level)) / len(differences)
    return float(min(1.0, max(needed * error, least)))


def standard_error(
    differences: Mapping[str, float], clusters: Mapping[str, str] | None = None
) -> float:
    """Standard error of the mean; of clusters as that of a ratio of their sums and sizes.

    nan where there are fewer than two questions or clusters.
    """
    if not differences:
        return nan
    values = np.array(list(differences.values()), dtype=np.float64)
    residuals = values - values.mean()
    if clusters is not None:
        names = np.asarray([clusters[uuid] for uuid in differences])
        residuals = np.bincount(np.unique(names, return_inverse=True)[1], weights=residuals)
    num_units = len(residuals)
    if num_units < 2:
        return nan
    return sqrt(num_units / (num_units - 1) * float((residuals**2).sum())) / len(values)

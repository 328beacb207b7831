"""The fusion rules on what was kept of the wordings' predictions, with what the rest may change.

Each rule is the one of that name in `walking.fusion`, on C tokens whose log-probabilities are
known exactly, and with bounds for all others. Wordings differ in how they normalise raw logits by
a constant each, which moves all tokens alike, so log-probabilities stand for logits as well.

N wordings, C tokens that are kept.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from self_ensemble.replaying.stored import FirstPlace, Floats

CONTRAST = 0.25  # as `walking.fusion.CONTRAST`, which is imported with torch
MIN_LOGPROB = -1e4
WEIGHTED = frozenset({"weighted_avg", "weighted_max"})


class Setting(NamedTuple):
    """What the rules read beside the predictions.

    Attributes:
        weights: Of each wording, `(N,)`, from 0, at least one above.
        strength: Of contrast.
        tolerance: Log-probabilities closer than this may be the other way round in a run.
    """

    weights: Floats
    strength: float
    tolerance: float


class Fused(NamedTuple):
    """A fused distribution, not normalised.

    Attributes:
        scores: Of the tokens that are kept, `(C,)`.
        bound: No other token has a larger score.
        rest: The logarithm of all other tokens' exponentiated scores together is at most this.
        is_stable: Whether what the rule chose between, wordings or rules, was far enough apart.
        factor: How far a score moves at most where every log-probability moves by 1.
    """

    scores: Floats
    bound: float
    rest: float
    is_stable: bool = True
    factor: float = 1.0


ReplayRule = Callable[[FirstPlace, Setting], Fused]


def avg(first: FirstPlace, setting: Setting) -> Fused:
    """Mean of the log-probabilities."""
    return _pooled(first, np.ones(len(first.bound)))


def weighted_avg(first: FirstPlace, setting: Setting) -> Fused:
    """Weighted mean of the log-probabilities."""
    return _pooled(first, setting.weights)


def maximum(first: FirstPlace, setting: Setting) -> Fused:
    """Each token's largest probability under any wording."""
    rest = float(np.logaddexp.reduce(first.rest))
    return Fused(first.logprobs.max(axis=0), float(first.bound.max()), rest)


def weighted_max(first: FirstPlace, setting: Setting) -> Fused:
    """The distribution of the wording with the largest weight; the first of equals."""
    return _of_one(first, int(np.argmax(setting.weights)))


def prob_avg(first: FirstPlace, setting: Setting) -> Fused:
    """Mean of the probabilities."""
    shift = np.log(len(first.bound))
    return Fused(
        np.logaddexp.reduce(first.logprobs, axis=0) - shift,
        float(np.logaddexp.reduce(first.bound) - shift),
        float(np.logaddexp.reduce(first.rest) - shift),
    )


def min_entropy(first: FirstPlace, setting: Setting) -> Fused:
    """The distribution of the wording that is most certain; the first of equals."""
    best = int(np.argmin(first.entropy))
    others = np.delete(first.entropy, best)
    is_stable = bool((others - first.entropy[best] > setting.tolerance).all())
    return _of_one(first, best)._replace(is_stable=is_stable)


def contrast(first: FirstPlace, setting: Setting) -> Fused:
    """What the wordings add to the prompt without the question."""
    strength, pooled = setting.strength, _pooled(first, np.ones(len(first.bound)))
    possible, prior = pooled.scores.clip(MIN_LOGPROB), first.prior.clip(MIN_LOGPROB)
    # (1 + b) s - b p = s + b (s - p): at most the largest s and the mean of the gaps.
    more = strength * float(first.gap.mean()) if pooled.bound > -np.inf else 0.0
    return Fused(
        (1 + strength) * possible - strength * prior,
        pooled.bound + more,
        pooled.rest + more,
        factor=1 + 2 * strength,
    )


def gated(first: FirstPlace, setting: Setting) -> Fused:
    """The original wording while most wordings would take its token, else `prob_avg`."""
    favourites = first.logprobs.argmax(axis=1)
    beside = np.array(
        [
            max(row.max(initial=-np.inf), bound)
            for row, bound in zip(_without(first.logprobs, favourites), first.bound, strict=True)
        ]
    )
    is_sure = first.logprobs.max(axis=1) - beside > setting.tolerance
    agree = favourites == favourites[0]
    fewest, most = (agree & is_sure).mean(), (agree | ~is_sure).mean()
    is_stable = bool(is_sure[0]) and (fewest > 0.5 or most <= 0.5)
    found = _of_one(first, 0) if agree.mean() > 0.5 else prob_avg(first, setting)
    return found._replace(is_stable=is_stable)


REPLAY_RULES: dict[str, ReplayRule] = {
    "avg": avg,
    "max": maximum,
    "weighted_avg": weighted_avg,
    "weighted_max": weighted_max,
    "prob_avg": prob_avg,
    "logprob_avg": avg,
    "min_entropy": min_entropy,
    "contrast": contrast,
    "gated": gated,
}


def _pooled(first: FirstPlace, weights: Floats) -> Fused:
    """Weighted means; by Hoelder's inequality the rest has no more than the mean of the rests."""
    # A wording without weight has no say, even in what it rules out: 0 * -inf would be nan.
    counts = weights > 0
    shares = weights[counts] / weights[counts].sum()
    return Fused(
        shares @ first.logprobs[counts],
        float(shares @ first.bound[counts]),
        float(shares @ first.rest[counts]),
    )


def _of_one(first: FirstPlace, wording: int) -> Fused:
    return Fused(first.logprobs[wording], float(first.bound[wording]), float(first.rest[wording]))


def _without(logprobs: Floats, places: NDArray[np.intp]) -> list[Floats]:
    return [np.delete(row, place) for row, place in zip(logprobs, places, strict=True)]

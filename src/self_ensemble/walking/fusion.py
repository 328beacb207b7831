"""Logit-level fusion rules: the N next-token distributions of a question become one.

A rule is a pure function `(..., N, V), (..., N) -> (..., V)` from raw logits and non-negative
weights to unnormalised log-probabilities. It is written along the last dimensions, so the same
function serves one question and a batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from self_ensemble.errors import UserError
from self_ensemble.walking.choose import largest

FusionRule = Callable[[Tensor, Tensor], Tensor]

CONTRAST = 0.25  # share of the prompt without the question that `contrast` takes away
# Beyond it the wordings' own log-probabilities are lost to rounding: nothing moves any more.
MOST_CONTRAST = 1e6
MIN_LOGPROB = -1e4  # exp of it is 0 in float32


def avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Mean of the raw logits; after normalisation the same distribution as `logprob_avg`."""
    return logits.mean(dim=-2)


def weighted_avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the raw logits."""
    shares = _shares(weights)[..., None]
    # A wording without weight has no say, even in what it rules out: 0 * -inf would be nan.
    return torch.where(shares > 0, shares * logits, 0.0).sum(dim=-2)


def maximum(logits: Tensor, weights: Tensor) -> Tensor:
    """Each token's largest probability under any wording."""
    return logits.log_softmax(dim=-1).amax(dim=-2)


def weighted_max(logits: Tensor, weights: Tensor) -> Tensor:
    """The distribution of the wording with the largest weight; the first of equals."""
    return _chosen(logits, weights.argmax(dim=-1))


def prob_avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Mixture: mean of the probabilities (linear opinion pool; Stone 1961).

    What is below the smallest float32, 1e-45, under every wording is 0.
    """
    return logits.softmax(dim=-1).mean(dim=-2).log()


def logprob_avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Product of experts: mean of the log-probabilities (Hinton 2002)."""
    return logits.log_softmax(dim=-1).mean(dim=-2)


def min_entropy(logits: Tensor, weights: Tensor) -> Tensor:
    """The distribution of the wording that is most certain of this token; the first of equals.

    Certain is of least entropy, as in Su, "Naive Bayes-based Context Extension" and its
    non-parametric form, arXiv 2403.17552.
    """
    logprobs = logits.log_softmax(dim=-1)
    return _chosen(logprobs, entropies(logprobs).argmin(dim=-1))


def entropies(logprobs: Tensor) -> Tensor:
    """Entropies in nats of distributions `(..., V)`, `(...)`."""
    # A token ruled out adds nothing: 0 * -inf would be nan.
    return -(logprobs.exp() * logprobs.clamp_min(MIN_LOGPROB)).sum(dim=-1)


def contrast(logits: Tensor, weights: Tensor, strength: float = CONTRAST) -> Tensor:
    """What the wordings add to the prompt without the question.

    (1 + b) times the mean of the wordings' log-probabilities minus b times that of the prompt
    without the question: context-aware decoding (Shi et al. 2023, arXiv 2305.14739) over several
    contexts, as in arXiv 2403.17552.

    Args:
        logits: `(..., N + 1, V)`; the last row is the prompt without the question.
        weights: Not read.
        strength: b, from 0 to `MOST_CONTRAST`; 0 is `logprob_avg`.

    Raises:
        UserError: Another strength.
    """
    check_strength(strength)
    logprobs = logits.log_softmax(dim=-1)
    fused = logprobs[..., :-1, :].mean(dim=-2).log_softmax(dim=-1)
    # What both rule out stays ruled out: -inf + inf would be nan.
    prior = logprobs[..., -1, :].clamp_min(MIN_LOGPROB)
    return (1 + strength) * fused.clamp_min(MIN_LOGPROB) - strength * prior


def check_strength(strength: float) -> None:
    """Refuse a strength of `contrast` that takes away what is not there, or all that is.

    Raises:
        UserError: It is not from 0 to `MOST_CONTRAST`.
    """
    if not 0 <= strength <= MOST_CONTRAST:
        raise UserError(
            f"Got --contrast-strength {strength}. Give a number from 0 to {MOST_CONTRAST:,.0f}.",
            "SE-0010",
        )


def gated(logits: Tensor, weights: Tensor) -> Tensor:
    """The original wording while most wordings would take its token, else `prob_avg`.

    Fusing only where the members disagree follows Yao et al. 2025, "Determine-Then-Ensemble",
    arXiv 2410.03777, and Yu et al. 2024, "Breaking the Ceiling", arXiv 2406.12585. Most is more
    than half. To ask that all wordings agree would change no greedy answer: the token that each
    of them likes best is also the best of any mean.
    """
    original = logits[..., 0, :].log_softmax(dim=-1)
    return torch.where(most_agree(logits)[..., None], original, prob_avg(logits, weights))


def most_agree(logits: Tensor) -> Tensor:
    """Whether more than half of the wordings would take the original's token, `(...)`."""
    best, choices = largest(logits)
    agree = (choices == choices[..., :1]).float().mean(dim=-1) > 0.5
    # A wording whose logits are not finite has no favourite.
    return agree & best.isfinite().all(dim=-1)


RULES: dict[str, FusionRule] = {
    "avg": avg,
    "max": maximum,
    "weighted_avg": weighted_avg,
    "weighted_max": weighted_max,
    "prob_avg": prob_avg,
    "logprob_avg": logprob_avg,
    "min_entropy": min_entropy,
    "contrast": contrast,
    "gated": gated,
}
WEIGHTED = frozenset({"weighted_avg", "weighted_max"})
READS_PRIOR = frozenset({"contrast"})  # the prompt without the question comes as the last row


def _chosen(logits: Tensor, wordings: Tensor) -> Tensor:
    """The row of one wording `(...)` for each question, `(..., V)`."""
    *lead, num_wordings, vocabulary = logits.shape
    wordings = wordings.expand(lead)
    firsts = torch.arange(wordings.numel(), device=logits.device) * num_wordings
    # Rows are copied whole; taking along a dimension copies value by value.
    rows = logits.reshape(-1, vocabulary).index_select(0, firsts + wordings.flatten())
    return rows.view(*wordings.shape, vocabulary)


def _shares(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=-1, keepdim=True)

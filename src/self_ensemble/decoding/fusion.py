"""Logit-level fusion rules: the N next-token distributions of a question become one.

A rule is a pure function `(..., N, V), (..., N) -> (..., V)` from raw logits and non-negative
weights to unnormalised log-probabilities. It is written along the last dimensions, so the same
function serves one question and a batch.
"""

import importlib
import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from self_ensemble.decoding.choose import largest
from self_ensemble.errors import UserError, unknown_name

FusionRule = Callable[[Tensor, Tensor], Tensor]

CONTRAST = 0.25  # share of the prompt without the question that `contrast` takes away
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
    best = weights.argmax(dim=-1)[..., None, None]
    return logits.take_along_dim(best, dim=-2).squeeze(-2)


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
    # A token ruled out adds nothing: 0 * -inf would be nan.
    entropies = -(logprobs.exp() * logprobs.clamp_min(MIN_LOGPROB)).sum(dim=-1)
    best = entropies.argmin(dim=-1)[..., None, None]
    return logprobs.take_along_dim(best, dim=-2).squeeze(-2)


def contrast(logits: Tensor, weights: Tensor, strength: float = CONTRAST) -> Tensor:
    """What the wordings add to the prompt without the question.

    (1 + b) times the mean of the wordings' log-probabilities minus b times that of the prompt
    without the question: context-aware decoding (Shi et al. 2023, arXiv 2305.14739) over several
    contexts, as in arXiv 2403.17552.

    Args:
        logits: `(..., N + 1, V)`; the last row is the prompt without the question.
        weights: Not read.
        strength: b, from 0; 0 is `logprob_avg`.
    """
    logprobs = logits.log_softmax(dim=-1)
    fused = logprobs[..., :-1, :].mean(dim=-2).log_softmax(dim=-1)
    # What both rule out stays ruled out: -inf + inf would be nan.
    prior = logprobs[..., -1, :].clamp_min(MIN_LOGPROB)
    return (1 + strength) * fused.clamp_min(MIN_LOGPROB) - strength * prior


def gated(logits: Tensor, weights: Tensor) -> Tensor:
    """The original wording while most wordings would take its token, else `prob_avg`.

    Fusing only where the members disagree follows Yao et al. 2025, "Determine-Then-Ensemble",
    arXiv 2410.03777, and Yu et al. 2024, "Breaking the Ceiling", arXiv 2406.12585. Most is more
    than half. To ask that all wordings agree would change no greedy answer: the token that each
    of them likes best is also the best of any mean.
    """
    _, choices = largest(logits)
    agree = (choices == choices[..., :1]).float().mean(dim=-1, keepdim=True) > 0.5
    original = logits[..., 0, :].log_softmax(dim=-1)
    return torch.where(agree, original, prob_avg(logits, weights))


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


def _shares(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=-1, keepdim=True)


def load_rule(name: str, known: list[str]) -> FusionRule:
    """A rule by name, or the user's own as `module:function`.

    Args:
        name: A built-in name or `module:function`.
        known: All method names, for the message.

    Raises:
        UserError: No such rule.
    """
    if name in RULES:
        return RULES[name]
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise unknown_name("method", name, [*known, "module:function"])
    try:
        rule = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, SyntaxError, ValueError, TypeError) as error:
        raise UserError(
            f"Cannot load the fusion rule {name!r} ({error}). "
            "Give module:function, importable from here (set PYTHONPATH)."
        ) from error
    if not callable(rule):
        raise UserError(f"{name!r} is no function. Give module:function.")
    return checked_rule(name, rule)


def checked_rule(name: str, rule: Callable[..., object]) -> FusionRule:
    """Refuse a function that does not take logits and weights, before anything is computed."""
    try:
        inspect.signature(rule).bind(None, None)
    except TypeError as error:
        raise UserError(
            f"The fusion rule {name!r} does not take (logits, weights): {error}. "
            "Write a function of two tensors."
        ) from error
    result: FusionRule = rule  # type: ignore[assignment]
    return result


def fuse(rule: FusionRule, logits_BNV: Tensor, weights_BN: Tensor) -> Tensor:
    """Apply a rule to a batch and check what comes back, `(B, V)`.

    Raises:
        UserError: A user's rule returned another shape or nan.
    """
    scores = apply_rule(rule, logits_BNV, weights_BN)
    # The largest of scores with a nan among them is nan.
    if scores.amax(dim=-1).isnan().any():
        raise nan_returned()
    return scores


def apply_rule(rule: FusionRule, logits_BNV: Tensor, weights_BN: Tensor) -> Tensor:
    """Apply a rule to a batch, `(B, V)`; does not wait for the device, so nan goes unnoticed.

    Raises:
        UserError: A user's rule returned another shape.
    """
    scores = rule(logits_BNV, weights_BN)
    expected = (logits_BNV.shape[0], logits_BNV.shape[2])
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UserError(
            f"The fusion rule returned {got} for logits {tuple(logits_BNV.shape)}; expected "
            f"{expected}. Reduce dimension -2."
        )
    return scores


def nan_returned() -> UserError:
    """The refusal of a rule that returned nan."""
    return UserError("The fusion rule returned nan. Check it for 0/0 and inf - inf.")

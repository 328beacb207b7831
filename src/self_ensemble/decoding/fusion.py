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

from self_ensemble.errors import UserError, unknown_name

FusionRule = Callable[[Tensor, Tensor], Tensor]


def avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Mean of the raw logits; after normalisation the same distribution as `logprob_avg`."""
    return logits.mean(dim=-2)


def weighted_avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the raw logits."""
    return (_shares(weights)[..., None] * logits).sum(dim=-2)


def maximum(logits: Tensor, weights: Tensor) -> Tensor:
    """Each token's largest probability under any wording."""
    return logits.log_softmax(dim=-1).amax(dim=-2)


def weighted_max(logits: Tensor, weights: Tensor) -> Tensor:
    """The distribution of the wording with the largest weight; the first of equals."""
    best = weights.argmax(dim=-1)[..., None, None]
    return logits.take_along_dim(best, dim=-2).squeeze(-2)


def prob_avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Mixture: mean of the probabilities (linear opinion pool; Stone 1961)."""
    return logits.log_softmax(dim=-1).logsumexp(dim=-2)


def logprob_avg(logits: Tensor, weights: Tensor) -> Tensor:
    """Product of experts: mean of the log-probabilities (Hinton 2002)."""
    return logits.log_softmax(dim=-1).mean(dim=-2)


RULES: dict[str, FusionRule] = {
    "avg": avg,
    "max": maximum,
    "weighted_avg": weighted_avg,
    "weighted_max": weighted_max,
    "prob_avg": prob_avg,
    "logprob_avg": logprob_avg,
}
WEIGHTED = frozenset({"weighted_avg", "weighted_max"})


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
    scores = rule(logits_BNV, weights_BN)
    expected = (logits_BNV.shape[0], logits_BNV.shape[2])
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UserError(
            f"The fusion rule returned {got} for logits {tuple(logits_BNV.shape)}; expected "
            f"{expected}. Reduce dimension -2."
        )
    if torch.isnan(scores).any():
        raise UserError("The fusion rule returned nan. Check it for 0/0 and inf - inf.")
    return scores

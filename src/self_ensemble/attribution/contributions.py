"""What each wording contributes to the scores that a built-in fusion rule gives.

Contributions sum to a score that ranks tokens as the rule does: a probability, or a logit above
the mean of the vocabulary. A logit has no zero of its own: all of a wording's may be shifted and
nothing changes, but for such a shift, too, a share would change. Their mean is the zero of
compositional data (Aitchison 1982).

N wordings, V vocabulary.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from self_ensemble.walking.fusion import FusionRule, entropies, most_agree
from self_ensemble.walking.user_rule import built_in, strength_of

Unit = Literal["probability", "logit"]


class Contributions(NamedTuple):
    """What makes the scores of all tokens.

    Attributes:
        wordings: Of each wording, `(N, V)`.
        prior: Of the prompt without the question, `(V,)`; None where the rule does not read it.
        unit: Of the scores.
    """

    wordings: Tensor
    prior: Tensor | None
    unit: Unit


def contributions(rule: FusionRule, logits: Tensor, weights: Tensor) -> Contributions:
    """Take a rule's scores apart.

    Args:
        rule: A built-in rule, or a partial of one.
        logits: Of the wordings and, last, the prompt without the question, `(N + 1, V)`.
        weights: Weight of each wording, `(N,)`.
    """
    name = built_in(rule)
    assert name is not None, "how a rule of the user's puts scores together is not known"
    own = logits[:-1]
    if name == "contrast":
        strength, centred = strength_of(rule), _centred(logits)
        return Contributions(
            (1 + strength) / len(own) * centred[:-1], -strength * centred[-1], "logit"
        )
    unit: Unit = "logit" if name in ("avg", "logprob_avg", "weighted_avg") else "probability"
    return Contributions(_OF_WORDINGS[name](own, weights), None, unit)


def _centred(logits: Tensor) -> Tensor:
    """Logits above their mean over the tokens that no row rules out, `(N, V)`."""
    possible = logits.isfinite().all(dim=0)
    return logits - logits[:, possible].mean(dim=-1, keepdim=True)


def _mean_of_logits(logits: Tensor, weights: Tensor) -> Tensor:
    return _centred(logits) / len(logits)


def _weighted_mean(logits: Tensor, weights: Tensor) -> Tensor:
    shares = (weights / weights.sum())[:, None]
    return torch.where(shares > 0, shares * _centred(logits), 0.0)


def _mixture(logits: Tensor, weights: Tensor) -> Tensor:
    return logits.softmax(dim=-1) / len(logits)


def _largest(logits: Tensor, weights: Tensor) -> Tensor:
    """Each token's largest probability is that of the wording that has it; the first of equals."""
    probs = logits.softmax(dim=-1)
    return _only(probs, probs.argmax(dim=0, keepdim=True))


def _heaviest(logits: Tensor, weights: Tensor) -> Tensor:
    return _only(logits.softmax(dim=-1), weights.argmax())


def _surest(logits: Tensor, weights: Tensor) -> Tensor:
    logprobs = logits.log_softmax(dim=-1)
    return _only(logprobs.exp(), entropies(logprobs).argmin())


def _gated(logits: Tensor, weights: Tensor) -> Tensor:
    if not bool(most_agree(logits)):
        return _mixture(logits, weights)
    return _only(logits.softmax(dim=-1), torch.zeros((), device=logits.device))


def _only(probs: Tensor, place: Tensor) -> Tensor:
    """The probabilities of one wording, for all tokens or for each, and 0 for the others."""
    rows = torch.arange(len(probs), device=probs.device)[:, None]
    return torch.where(rows == place, probs, 0.0)


_OF_WORDINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "avg": _mean_of_logits,
    "logprob_avg": _mean_of_logits,
    "weighted_avg": _weighted_mean,
    "prob_avg": _mixture,
    "max": _largest,
    "weighted_max": _heaviest,
    "min_entropy": _surest,
    "gated": _gated,
}

"""How a method came to its token, as a phrase, and whose distribution it took over.

N wordings of a question, V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from self_ensemble.asking.methods import Method
from self_ensemble.scoring.normalise import normalise
from self_ensemble.walking.fusion import entropies, most_agree
from self_ensemble.walking.user_rule import built_in, strength_of


class Why(NamedTuple):
    """A phrase, and the wording that was taken over; None where no single one was."""

    text: str
    wording: int | None = None


def why_fused(weights: Sequence[float]) -> Why:
    """Why a stream that reads all wordings says what it says.

    Args:
        weights: Weight of each wording inside attention, `(N,)`.
    """
    if len(set(weights)) == 1:
        return Why(f"reads every wording, with the weight {weights[0]:.3g} each")
    each = ", ".join(f"{weight:.3g}" for weight in weights)
    return Why(f"reads every wording, with the weights {each}")


def why_tied(method: Method, logits_NV: Tensor, weights_N: Tensor, best: int) -> Why:
    """Why a fusion rule likes a token best.

    Args:
        method: The method; its rule is a built-in one or a user's.
        logits_NV: What it reads of the wordings, without the prompt without the question.
        weights_N: Weight of each wording.
        best: The rule's best token.
    """
    logprobs_NV = logits_NV.log_softmax(dim=-1)
    named = _of_all(logits_NV, best)
    match built_in(method.rule):
        case "max":
            n = int(logprobs_NV[:, best].argmax())
            return Why(f"the largest probability under any wording is that of wording {n + 1}", n)
        case "weighted_max":
            n = int(weights_N.argmax())
            return Why(f"wording {n + 1} has the largest weight", n)
        case "min_entropy":
            found = entropies(logprobs_NV)
            n = int(found.argmin())
            return Why(f"wording {n + 1} has the least entropy, {float(found[n]):.2f} nats", n)
        case "gated" if bool(most_agree(logits_NV)):
            return Why(
                f"most wordings would take the original's token: wording 1 alone, {named}", 0
            )
        case "gated":
            return Why(f"most wordings would not take wording 1's token: prob_avg, {named}")
        case "contrast":
            strength = strength_of(method.rule)
            return Why(
                f"mean of the log-probabilities less {strength:g} of the prompt without the "
                f"question, {named}"
            )
        case None:
            return Why(f"your rule, {named}")
        case name:
            return Why(f"{_MEANS[name]}, {named}")


_MEANS = {
    "avg": "mean of the logits",
    "weighted_avg": "weighted mean of the logits",
    "prob_avg": "mean of the probabilities",
    "logprob_avg": "mean of the log-probabilities",
}


def why_voted(texts: Sequence[str | None], winner: int) -> Why:
    """Why an answer won a vote.

    Args:
        texts: The answer of each wording; None where it has none.
        winner: The wording whose answer won.
    """
    mine = normalise(texts[winner] or "")
    votes = sum(text is not None and normalise(text) == mine for text in texts)
    return Why(f"answer of wording {winner + 1}, with {votes} of {len(texts)} votes", winner)


def _of_all(logits_NV: Tensor, token: int) -> str:
    favourites = logits_NV.argmax(dim=-1).tolist()
    return f"best of {favourites.count(token)} of {len(favourites)} wordings"

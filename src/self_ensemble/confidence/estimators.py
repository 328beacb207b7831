"""Estimators of how sure a model is of its answer to one wording: from 0 to 1, larger is surer.

Each is a pure function of what was seen of all N wordings of a question, and gives N numbers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from self_ensemble.asking.request import Answer
from self_ensemble.results.paths import ESTIMATORS as NAMES
from self_ensemble.scoring.match import lemmas_agree


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one wording.

    Attributes:
        greedy: Its greedy answer.
        greedy_lemma: Lemmas of that answer.
        sample_lemmas: Lemmas of every sampled answer; empty where none was drawn.
        first_logits: Logits of the first token of an answer, `(V,)`.
        p_true: Probability that the model calls the greedy answer true; nan where not asked.
    """

    greedy: Answer
    greedy_lemma: Sequence[str]
    sample_lemmas: Sequence[Sequence[str]]
    first_logits: Tensor
    p_true: float = math.nan


def sampling(wordings: Sequence[Evidence]) -> list[float]:
    """Share of the sampled answers that agree with the greedy one.

    Lyu et al. 2025, "Calibrating Large Language Models with Sample Consistency", arXiv
    2402.13904; the samples are those of self-consistency (Wang et al. 2023, arXiv 2203.11171).
    """
    return [
        sum(lemmas_agree(one.greedy_lemma, sample) for sample in one.sample_lemmas)
        / len(one.sample_lemmas)
        for one in wordings
    ]


def logprob(wordings: Sequence[Evidence]) -> list[float]:
    """Geometric mean of the greedy answer's token probabilities, the token that ends it included.

    Length-normalised likelihood: Malinin and Gales 2021, "Uncertainty Estimation in
    Autoregressive Structured Prediction", arXiv 2002.07650.
    """
    return [math.exp(one.greedy.mean_logprob) for one in wordings]


def margin(wordings: Sequence[Evidence]) -> list[float]:
    """Probability of the likeliest first token minus that of the second.

    Scheffer, Decomain and Wrobel 2001, "Active Hidden Markov Models for Information Extraction".
    """
    differences = []
    for one in wordings:
        first, second = one.first_logits.softmax(dim=-1).topk(2).values.tolist()
        differences.append(first - second)
    return differences


def entropy(wordings: Sequence[Evidence]) -> list[float]:
    """One minus the entropy of the first token as a share of the largest possible, log V.

    Predictive entropy: Kadavath et al. 2022, "Language Models (Mostly) Know What They Know",
    arXiv 2207.05221, and Malinin and Gales 2021, arXiv 2002.07650, at the first token.
    """
    certainties = []
    for one in wordings:
        logprobs = one.first_logits.double().log_softmax(dim=-1)
        nats = -float((logprobs.exp() * logprobs.clamp_min(-1e4)).sum())
        certainties.append(min(1.0, max(0.0, 1.0 - nats / math.log(len(logprobs)))))
    return certainties


def agreement(wordings: Sequence[Evidence]) -> list[float]:
    """Share of the other wordings whose greedy answer agrees; no label and no sample is needed.

    Portillo Wightman et al. 2023, "Strength in Numbers: Estimating Confidence of Large Language
    Models by Prompt Agreement" (TrustNLP).
    """
    return [
        sum(
            lemmas_agree(one.greedy_lemma, other.greedy_lemma)
            for place, other in enumerate(wordings)
            if place != own_place
        )
        / (len(wordings) - 1)
        for own_place, one in enumerate(wordings)
    ]


def p_true(wordings: Sequence[Evidence]) -> list[float]:
    """Probability that the model itself calls its greedy answer true (Kadavath et al. 2022)."""
    return [one.p_true for one in wordings]


ESTIMATORS: dict[str, Callable[[Sequence[Evidence]], list[float]]] = {
    "sampling": sampling,
    "logprob": logprob,
    "margin": margin,
    "entropy": entropy,
    "agreement": agreement,
    "p_true": p_true,
}
assert tuple(ESTIMATORS) == NAMES

"""Tiny models made ready to be asked, questions, and a run of many methods at once."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from self_ensemble.asking.request import Answer, Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.aliases import ModelSource
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import choose_backend, context_length
from self_ensemble.oracle.reference import greedy_tied
from self_ensemble.prompts.parts import PromptParts

PREFIX = "Q: Is the old bridge made of stone?\nA: Seven of them are.\n\n"
# Questions of different lengths, and wordings of different lengths in each.
QUESTIONS = (
    ("Who wrote the play?", "Which one of them wrote the play about the prince?", "Writer?"),
    ("The river is wide?", "River: wide?", "Is the river of the old town slow and wide?"),
    (
        "What is the capital of France, the town on the slow and wide river?",
        "Capital?",
        "France's capital is what?",
    ),
)
WEIGHTS = ((0.2, 0.5, 0.3), (1.0, 1.0, 2.0), (0.7, 0.1, 0.4))
TIED = (
    "avg", "max", "weighted_avg", "weighted_max", "prob_avg", "logprob_avg", "min_entropy",
    "contrast", "gated",
)  # fmt: skip
STRENGTH = 0.25  # of contrast
METHODS = ("flex_attention", *TIED, "vote", "per_prompt", "origin")
FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "gpt2", "phi3")


def ready(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, attention: str = "auto"
) -> LoadedModel:
    """What `load_model` makes of a model on disk, for one in memory."""
    device = torch.device("cpu")
    return LoadedModel(
        name="tiny",
        model=model,
        tokenizer=tokenizer,
        source=ModelSource("tiny", "folder", "."),
        revision="",
        device=device,
        dtype=torch.float32,
        attention=choose_backend(attention, model.config, device),
        has_chat_template=bool(tokenizer.chat_template),
        context_length=context_length(model.config),
    )


def requests(
    questions: Sequence[Sequence[str]] = QUESTIONS,
    weights: Sequence[Sequence[float]] | None = WEIGHTS,
) -> list[Request]:
    return [
        Request(
            key=f"q{n}",
            wordings=tuple(wordings),
            weights=None if weights is None else tuple(weights[n]),
        )
        for n, wordings in enumerate(questions)
    ]


def ensemble(
    loaded: LoadedModel,
    method: str | Sequence[str] = METHODS,
    *,
    attention: str | None = None,
    decode: str = "tree",
    prefix: str = PREFIX,
    **settings: object,
) -> Ensemble:
    """An ensemble whose answers run to 8 tokens, or to the end-of-sequence token."""
    options = {"max_new_tokens": 8, "stop": (), **settings}
    return Ensemble(
        loaded, list([method] if isinstance(method, str) else method),
        prefix=prefix, settings=Settings(**options), attention=attention, decode=decode,
    )  # fmt: skip


def tokens(answers: Sequence[Answer]) -> list[list[int]]:
    return [list(answer.token_ids) for answer in answers]


def plain_generate(model: PreTrainedModel, token_ids: Sequence[int], num_tokens: int) -> list[int]:
    """What transformers generates greedily after a prompt."""
    ids = torch.tensor([list(token_ids)])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=num_tokens
    )
    return output[0, ids.shape[1] :].tolist()


def with_prior(parts: PromptParts) -> PromptParts:
    """The question with one more wording that says nothing: the prompt without the question.

    For an oracle that continues wordings alone: there the cue belongs to the wordings.
    """
    ends = [segment + parts.cue for segment in parts.segments]
    return replace(parts, segments=(*ends, parts.without_question), cue=())


def greedy_tied_slowly(
    loaded: LoadedModel,
    parts: PromptParts,
    method: str,
    weights: Sequence[float],
    num_tokens: int,
) -> list[int]:
    """A built-in tied method's answer, every wording recomputed in full for every token."""

    def combine(each: Sequence[Tensor]) -> Tensor:
        return combine_slowly(method, each, weights)

    asked = with_prior(parts) if method == "contrast" else parts
    return greedy_tied(loaded, asked, combine, num_tokens)


def entropy_slowly(probs: Tensor) -> float:
    """Entropy of a distribution in nats."""
    return -math.fsum(p * math.log(p) for p in probs.tolist() if p > 0)


def combine_slowly(method: str, each: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """A fusion rule from its definition, one wording after the other, in float64.

    Scores: logits for the means of logits and of log-probabilities, else probabilities.
    For contrast the last of the logits is the prompt without the question.
    """
    logits = [row.double() for row in each]
    probs = [row.exp() / row.exp().sum() for row in (one - one.max() for one in logits)]
    if method in _PICKS:
        return _PICKS[method](probs, weights)
    total, result = sum(weights), torch.zeros_like(logits[0])
    for n, row in enumerate(logits):
        if method == "avg":
            result += row / len(logits)
        elif method == "weighted_avg":
            result += weights[n] / total * row
        elif method == "prob_avg":
            result += probs[n] / len(logits)
        else:
            assert method == "logprob_avg"
            result += probs[n].log() / len(logits)
    return result


def _largest_slowly(probs: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    result = torch.zeros_like(probs[0])
    for row in probs:
        result = torch.maximum(result, row)
    return result


def _heaviest_slowly(probs: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    return probs[max(range(len(weights)), key=lambda n: weights[n])]


def _surest_slowly(probs: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    return min(probs, key=entropy_slowly)


def _contrast_slowly(probs: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Logits: the normalised geometric mean, to 1 + b, over what is likely anyway, to b."""
    pooled = torch.ones_like(probs[0])
    for row in probs[:-1]:
        pooled *= row ** (1 / (len(probs) - 1))
    pooled /= pooled.sum()
    return (1 + STRENGTH) * pooled.log() - STRENGTH * probs[-1].log()


def _gated_slowly(probs: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    favourites = [int(row.argmax()) for row in probs]
    if 2 * favourites.count(favourites[0]) > len(favourites):
        return probs[0]
    return torch.stack(list(probs)).mean(dim=0)


_PICKS = {
    "max": _largest_slowly,
    "weighted_max": _heaviest_slowly,
    "min_entropy": _surest_slowly,
    "contrast": _contrast_slowly,
    "gated": _gated_slowly,
}

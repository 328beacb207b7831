"""From scores to what is kept of them: the likeliest tokens, entropy, margin.

M distributions, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from self_ensemble.prompts.token_texts import token_text, token_texts
from self_ensemble.tracing.trace import Candidate, Distribution, Token
from self_ensemble.walking.choose import most_probable
from self_ensemble.walking.fusion import entropies

NOT_FINITE = Distribution((), math.nan, math.nan)


@dataclass(slots=True)
class TokenTexts:
    """Tokens by their ids.

    Attributes:
        tokenizer: The model's tokenizer.
    """

    tokenizer: Any
    _special: frozenset[int] = field(init=False)
    _known: dict[int, Token] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._special = frozenset(self.tokenizer.all_special_ids)

    def of(self, token_ids: Sequence[int]) -> tuple[Token, ...]:
        """The tokens of some ids, each by itself."""
        return tuple(self._one(token_id) for token_id in token_ids)

    def together(self, token_ids: Sequence[int]) -> tuple[Token, ...]:
        """Tokens that stand behind each other: joined, their texts are the whole text."""
        texts = token_texts(self.tokenizer, token_ids)
        return tuple(
            Token(token_id, text, token_id in self._special)
            for token_id, text in zip(token_ids, texts, strict=True)
        )

    def candidates(
        self, token_ids: Sequence[int], logprobs: Sequence[float]
    ) -> tuple[Candidate, ...]:
        """Tokens that may stand in the same place, with their log-probabilities."""
        found = self.of(token_ids)
        return tuple(Candidate(t, logprob) for t, logprob in zip(found, logprobs, strict=True))

    def _one(self, token_id: int) -> Token:
        if token_id not in self._known:
            text = token_text(self.tokenizer, token_id)
            self._known[token_id] = Token(token_id, text, token_id in self._special)
        return self._known[token_id]


def distributions(scores_MV: Tensor, num_top: int, texts: TokenTexts) -> list[Distribution]:
    """What is kept of unnormalised log-probabilities, `(M, V)`."""
    # On the CPU, in one type: scores of a user's rule may be of any.
    logprobs_MV = scores_MV.double().cpu().log_softmax(dim=-1)
    is_finite_M = logprobs_MV.amax(dim=-1).isfinite().tolist()
    # A second one even where one is shown: for the margin.
    most = min(max(num_top, 2), logprobs_MV.shape[-1])
    top, tokens = (one.tolist() for one in most_probable(logprobs_MV, most))
    entropy_M = entropies(logprobs_MV).tolist()
    return [
        _kept(texts.candidates(tokens[m], top[m]), entropy_M[m], num_top)
        if is_finite_M[m]
        else NOT_FINITE
        for m in range(len(top))
    ]


def _kept(top: Sequence[Candidate], entropy: float, num_top: int) -> Distribution:
    second = top[1].prob if len(top) > 1 else 0.0
    possible = [one for one in top[:num_top] if one.logprob > -math.inf]
    return Distribution(tuple(possible), entropy + 0.0, top[0].prob - second)

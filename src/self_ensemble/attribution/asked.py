"""An answer that is asked about, and its log-probability under some of its question's wordings.

N wordings, T tokens of the answer, V vocabulary, S subsets of the wordings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from self_ensemble.asking.layout import relative_weights, segment_weights
from self_ensemble.asking.methods import Method
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Request, Settings
from self_ensemble.attribution.games import Subset, Worth
from self_ensemble.errors import UserError


class NoAttributionError(UserError):
    """An answer's score is nothing that can be taken apart: nan, infinite, or below zero."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "SE-0606")


REMEDY = "Load the model with --dtype float32, or ask for other kinds of attribution."


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer to one question.

    Attributes:
        prefiller: Encodes the question's prompts.
        request: The question.
        method: The method that has answered.
        token_ids: The answer's tokens, `(T,)`.
    """

    prefiller: Prefiller
    request: Request
    method: Method
    token_ids: tuple[int, ...]

    @property
    def num_wordings(self) -> int:
        return len(self.request.wordings)

    @property
    def settings(self) -> Settings:
        return self.request.settings or self.prefiller.settings

    def effective(self, subset: Subset) -> Subset:
        """Those of some wordings that the method reads: not those of weight 0."""
        request = self.request
        if self.method.kind == "fused":
            weights = segment_weights(request, self.settings)
        else:
            weights = (request.weights if self.method.needs_weights else None) or (1.0,) * len(
                request.wordings
            )
        return tuple(index for index in subset if weights[index] > 0)

    def fused_weights(self, subset: Subset) -> list[float]:
        """Weights inside attention as in a run with these wordings only, `(N,)`; others have 0."""
        given = self.request.segment_weights
        some = replace(
            self.request,
            wordings=tuple(self.request.wordings[index] for index in subset),
            segment_weights=None if given is None else tuple(given[index] for index in subset),
        )
        weights = [0.0] * self.num_wordings
        if subset:
            found = segment_weights(some, self.settings)
            for index, weight in zip(subset, found, strict=True):
                weights[index] = weight
        return weights

    def rule_weights(self, subset: Subset) -> tuple[float, ...]:
        """What a rule gets as weights in a run with some wordings only."""
        weights = self.request.weights or (1.0,) * self.num_wordings
        some = tuple(weights[index] for index in subset)
        # A user's rule may be given weights that are all 0: they are passed on as they are.
        return relative_weights(some) if any(some) else some

    def check_worth(self, worth: Worth) -> None:
        """Refuse log-probabilities that no difference can be taken of.

        Raises:
            NoAttributionError: One is nan or infinite: of which token, under which wordings.
        """
        for subset, logprobs in worth.items():
            for place, logprob in enumerate(torch.from_numpy(logprobs).isfinite().tolist(), 1):
                if not logprob:
                    raise NoAttributionError(
                        f"Token {place} of the answer has no finite log-probability "
                        f"({self.method.name}) under {_named(subset)}. {REMEDY}"
                    )


def _named(subset: Sequence[int]) -> str:
    if not subset:
        return "the prompt without the question"
    numbers = ", ".join(str(index + 1) for index in subset)
    return f"wording{'s' if len(subset) > 1 else ''} {numbers}"

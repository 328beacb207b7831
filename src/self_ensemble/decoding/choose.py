"""One token from a distribution: greedy, or sampled with temperature and nucleus."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from self_ensemble.errors import UserError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 is greedy; else logits are divided by it.
        top_p: Smallest set of tokens with at least this probability (Holtzman et al. 2020).
        seed: With the question's key it fixes every draw, whatever else is in the batch.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise UserError(f"Got temperature {self.temperature}; expected a number from 0.")
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(f"Got top-p {self.top_p}; expected a number above 0, up to 1.")

    def uniforms(self, key: str, num_draws: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The uniform draws of one answer, `(num_draws,)`; a function of seed and key alone."""
        digest = hashlib.sha256(f"{self.seed}\0{key}".encode()).digest()
        return np.random.default_rng(list(digest)).random(num_draws)


def choose(scores_AV: Tensor, draws_A: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Choose one token for each of A answers.

    Args:
        scores_AV: Unnormalised log-probabilities.
        draws_A: One uniform draw each; not read when greedy.
        sampling: Greedy or sampled.

    Returns:
        Token ids `(A,)` and their log-probabilities at temperature 1 `(A,)`.
    """
    if sampling.temperature == 0.0:
        tokens = scores_AV.argmax(dim=-1)
    else:
        # On the CPU, because not every device has float64.
        probs = (scores_AV.cpu().double() / sampling.temperature).softmax(dim=-1)
        ordered, index = probs.sort(dim=-1, descending=True, stable=True)
        mass = ordered.cumsum(dim=-1)
        kept = ordered.where(mass - ordered < sampling.top_p, 0.0)
        mass = kept.cumsum(dim=-1)
        target = draws_A.to(mass)[:, None] * mass[:, -1:]
        rank = torch.searchsorted(mass, target, right=True)
        # The largest draw times the mass may round up to the mass, behind the last kept token.
        rank = rank.minimum((kept > 0).sum(dim=-1, keepdim=True) - 1)
        tokens = index.gather(-1, rank)[:, 0].to(scores_AV.device)
    chosen = scores_AV.gather(-1, tokens[:, None])[:, 0]
    return tokens, chosen - scores_AV.logsumexp(dim=-1)

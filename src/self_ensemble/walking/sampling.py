"""How tokens are chosen: what is asked for, and the draws; nothing here needs torch."""

import hashlib
from dataclasses import dataclass

import numpy as np

from self_ensemble.errors import UserError

COLDEST = 1e-6  # logits of thousands, divided by it, are well within float32


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
            raise UserError(
                f"Got temperature {self.temperature}; expected a number from 0.", "SE-0607"
            )
        if 0.0 < self.temperature < COLDEST:
            raise UserError(
                f"Got temperature {self.temperature}; logits divided by it overflow. Give 0 for "
                f"greedy answers, or {COLDEST} or more.",
                "SE-0607",
            )
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(
                f"Got top-p {self.top_p}; expected a number above 0, up to 1.", "SE-0607"
            )

    def uniforms(self, key: str, num_draws: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The uniform draws of one answer, `(num_draws,)`; a function of seed and key alone."""
        digest = hashlib.sha256(f"{self.seed}\0{key}".encode()).digest()
        return np.random.default_rng(list(digest)).random(num_draws)

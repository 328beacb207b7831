"""A tiny model made ready to be asked, and made-up predictions of right answers."""

from collections.abc import Callable

import numpy as np
import pytest
from tests.engine.asking import PREFIX, ready

from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import LoadedModel
from self_ensemble.weighting.candidates import Candidates


@pytest.fixture(scope="session")
def loaded(tiny_model, tiny_tokenizer) -> Callable[..., LoadedModel]:
    """Factory with the arguments of `tiny_model`; a model of its own at each call."""

    def make(family: str = "llama", **options: int | None) -> LoadedModel:
        return ready(tiny_model(family, **options), tiny_tokenizer)

    return make


@pytest.fixture
def ensemble(loaded) -> Ensemble:
    settings = Settings(max_new_tokens=12, stop=("\n",))
    return Ensemble(loaded(), "avg", prefix=PREFIX, settings=settings)


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Candidates]:
    """Factory `(seed, num_wordings=3, num_positions=2, num_tokens=7, spread=2.0)`.

    Every wording's log-probabilities are normalised over all tokens: nothing is cut off.
    """

    def make(
        seed: int,
        num_wordings: int = 3,
        num_positions: int = 2,
        num_tokens: int = 7,
        spread: float = 2.0,
    ) -> Candidates:
        rng = np.random.default_rng(seed)
        logits = rng.normal(0.0, spread, (num_wordings, num_positions, num_tokens))
        logprobs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
        starts = np.arange(num_positions) * num_tokens
        return Candidates(
            logprobs.reshape(num_wordings, -1),
            starts,
            starts + rng.integers(0, num_tokens, num_positions),
        )

    return make

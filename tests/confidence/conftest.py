"""A tiny model that can be asked whether an answer is true."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from hypothesis import settings

from self_ensemble.models.aliases import ModelSource
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import context_length

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def loaded(tiny_model, tiny_tokenizer) -> Callable[..., LoadedModel]:
    """Factory; `words` are tokens of their own beside the byte-level ones."""

    def make(words: tuple[str, ...] = (" true", " false"), positions: int = 4096) -> LoadedModel:
        torch.set_num_threads(1)
        model, tokenizer = tiny_model("llama"), deepcopy(tiny_tokenizer)
        tokenizer.add_tokens(list(words))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model.config.max_position_embeddings = positions
        return LoadedModel(
            name="tiny", model=model, tokenizer=tokenizer,
            source=ModelSource("tiny", "folder", "."), revision="", device=torch.device("cpu"),
            dtype=torch.float32, attention="sdpa", has_chat_template=True,
            context_length=context_length(model.config),
        )  # fmt: skip

    return make

"""A tiny model that can be asked whether an answer is true."""

from collections.abc import Callable

import pytest
import torch

from self_ensemble.models.aliases import ModelSource
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import context_length


@pytest.fixture(scope="session")
def loaded(tiny_judge) -> Callable[..., LoadedModel]:
    """Factory with the arguments of `tiny_judge`."""

    def make(**options: object) -> LoadedModel:
        torch.set_num_threads(1)
        model, tokenizer = tiny_judge(**options)
        return LoadedModel(
            name="tiny", model=model, tokenizer=tokenizer,
            source=ModelSource("tiny", "folder", "."), revision="", device=torch.device("cpu"),
            dtype=torch.float32, attention="sdpa", has_chat_template=True,
            context_length=context_length(model.config),
        )  # fmt: skip

    return make

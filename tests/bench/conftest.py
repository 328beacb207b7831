"""A tiny random model, and work for it, that all tests of the benchmark share."""

from dataclasses import replace

import pytest
import torch
from tests.engine.asking import ready

from benchmarks import work as work_module
from benchmarks.random_models import random_model
from benchmarks.work import Shape, Work, shape_work
from self_ensemble.models.load import LoadedModel
from self_ensemble.passes import batch

SHAPE = Shape(prefix=11, num_wordings=3, segment=5, new_tokens=6)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads only get into each other's way in models this small."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_tiny() -> LoadedModel:
    return random_model("tiny", device="cpu")


@pytest.fixture(scope="session")
def work(random_tiny) -> Work:
    """Five questions in batches of two: the last batch is not full."""
    return shape_work(random_tiny, SHAPE, num_questions=5, batch_size=2)


@pytest.fixture
def talking(tiny_model, tiny_tokenizer) -> LoadedModel:
    """A tiny model with a tokenizer for text, whose every other token ends an answer."""
    model = tiny_model("llama")
    model.generation_config.eos_token_id = list(range(0, len(tiny_tokenizer), 2))
    return replace(ready(model, tiny_tokenizer), context_length=4096)


@pytest.fixture
def plain_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours on plain linear layers too, whose FLOPs PyTorch's counter sees, without padding."""
    monkeypatch.setattr(work_module, "can_pack", lambda device, dtype: False)
    monkeypatch.setattr(batch, "rounded_length", lambda length: length)

"""A server on the loopback, with a tiny model behind it.

Without the extra `serve`, and what asks it, there is nothing here to collect.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest
import torch

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.aliases import ModelSource
from self_ensemble.models.load import LoadedModel

NEEDED = ("fastapi", "uvicorn", "prometheus_client", "openai", "httpx")
collect_ignore_glob = []
if all(map(find_spec, NEEDED)):
    from servers import Running, running
else:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model, tiny_tokenizer) -> LoadedModel:
    torch.set_num_threads(1)
    return LoadedModel(
        name="tiny", model=tiny_model("llama"), tokenizer=tiny_tokenizer,
        source=ModelSource("tiny", "folder", "."), revision="", device=torch.device("cpu"),
        dtype=torch.float32, attention="sdpa", has_chat_template=True, context_length=512,
    )  # fmt: skip


@pytest.fixture
def tiny_ensemble(tiny_loaded) -> Ensemble:
    return Ensemble(tiny_loaded, resolve_methods(["all"], has_weights=True))


@pytest.fixture(scope="module")
def server(tiny_loaded) -> "Iterator[Running]":
    with running(Ensemble(tiny_loaded, resolve_methods(["all"], has_weights=True))) as found:
        yield found


@pytest.fixture
def start() -> Callable[..., object]:
    """`running`, for servers with options of their own."""
    return running


@pytest.fixture(scope="session")
def start_once() -> Callable[..., object]:
    """The same, for servers of a whole module."""
    return running

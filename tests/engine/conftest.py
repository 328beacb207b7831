"""Tiny models made ready to be asked."""

from collections.abc import Callable, Iterator

import pytest
import torch
from asking import ready

from self_ensemble.models.load import LoadedModel
from self_ensemble.passes import batch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads only get into each other's way in models this small."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def shared_prefix() -> Iterator[None]:
    """One prefix for all questions, however short, as a CPU has long ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("self_ensemble.passes.prefill.SHARED_FROM", 1)
        yield


@pytest.fixture
def prefix_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the prefix in every row, however long, as GPUs have it."""
    monkeypatch.setattr("self_ensemble.passes.prefill.SHARED_FROM", 1 << 40)


@pytest.fixture(scope="session")
def loaded(tiny_model, tiny_tokenizer) -> Callable[..., LoadedModel]:
    """Factory with the arguments of `tiny_model`; a model of its own at each call."""

    def make(family: str = "llama", *arguments: int, **options: int | None) -> LoadedModel:
        return ready(tiny_model(family, *arguments, **options), tiny_tokenizer)

    return make


@pytest.fixture
def exact_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes without padding."""
    monkeypatch.setattr(batch, "rounded_length", lambda length: length)

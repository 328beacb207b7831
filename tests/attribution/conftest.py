"""Tiny models made ready to be asked, with the prefix in every row or once for all."""

from collections.abc import Callable

import pytest
import torch
from tests.engine.asking import ready

from self_ensemble.models.load import LoadedModel


@pytest.fixture(scope="session")
def loaded(tiny_model, tiny_tokenizer) -> Callable[..., LoadedModel]:
    """Factory with the arguments of `tiny_model`; a model of its own at each call."""

    def make(family: str = "llama", **options: int | None) -> LoadedModel:
        torch.set_num_threads(1)
        return ready(tiny_model(family, **options), tiny_tokenizer)

    return make


@pytest.fixture
def prefix_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One prefix for all questions, however short, as a CPU has long ones."""
    monkeypatch.setattr("self_ensemble.passes.prefill.SHARED_FROM", 1)

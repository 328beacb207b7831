"""Tiny models made ready to be asked."""

from collections.abc import Callable

import pytest
from asking import ready

from self_ensemble.models.load import LoadedModel


@pytest.fixture(scope="session")
def loaded(tiny_model, tiny_tokenizer) -> Callable[..., LoadedModel]:
    """Factory with the arguments of `tiny_model`; a model of its own at each call."""

    def make(family: str = "llama", *arguments: int, **options: int | None) -> LoadedModel:
        return ready(tiny_model(family, *arguments, **options), tiny_tokenizer)

    return make

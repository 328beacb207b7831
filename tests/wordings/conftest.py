"""A tiny model whose context holds the prompts of the styles."""

from pathlib import Path

import pytest

from self_ensemble.models.load import LoadedModel, load_model


@pytest.fixture(scope="session")
def long_model(long_folder: Path) -> LoadedModel:
    return load_model(str(long_folder), device="cpu")

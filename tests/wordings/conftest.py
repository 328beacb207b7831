"""A tiny model whose context holds the prompts of the styles."""

import os
from pathlib import Path

import pytest

from self_ensemble.models.load import LoadedModel, load_model


@pytest.fixture(scope="session")
def long_folder(tmp_path_factory, tiny_model, tiny_tokenizer) -> Path:
    """A model folder that `--model` takes: random weights, 4,096 positions."""
    model = tiny_model("llama")
    model.config.max_position_embeddings = 4096
    folder = tmp_path_factory.mktemp("models") / "long"
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def long_model(long_folder: Path) -> LoadedModel:
    return load_model(str(long_folder), device="cpu")


@pytest.fixture(scope="session")
def evaluation_data() -> Path:
    beside_the_repository = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("SELF_ENSEMBLE_DATA", beside_the_repository))
    if not folder.is_dir():
        pytest.skip("no evaluation data: set SELF_ENSEMBLE_DATA to their folder")
    return folder

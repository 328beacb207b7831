"""A tiny model whose context holds the prompts of the styles."""

import os
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from self_ensemble.models.load import LoadedModel, load_model


@pytest.fixture(scope="session")
def long_folder(tmp_path_factory, tiny_tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model folder that `--model` takes: random weights, 4,096 positions."""
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        initializer_range=0.3,
        tie_word_embeddings=False,
        bos_token_id=tiny_tokenizer.bos_token_id,
        eos_token_id=tiny_tokenizer.eos_token_id,
        pad_token_id=tiny_tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
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

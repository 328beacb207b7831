"""Models with random weights in the sizes of well-known ones: speed without a download.

How fast a model runs depends on its sizes and not on what it has learned. Its tokenizer reads
and writes token ids as numbers ("17 4 250"), because a random model has no language.
"""

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from self_ensemble.errors import unknown_name
from self_ensemble.models.aliases import ModelSource
from self_ensemble.models.devices import resolve_device, resolve_dtype
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import choose_backend, context_length

CONFIGS: dict[str, type[PreTrainedConfig]] = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of an architecture, in the order in which the models' cards list them.

    Attributes:
        family: Key of `CONFIGS`.
        vocabulary: Number of tokens.
        hidden: Width of the residual stream.
        intermediate: Width inside the feed-forward layers.
        layers: Number of layers.
        heads: Query heads.
        kv_heads: Key-value heads.
        head_dim: Size of a head.
        tied: Whether the embedding is also the output matrix.
        context: Longest sequence.
        spread: Standard deviation of the random weights.
    """

    family: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    context: int = 131072
    spread: float = 0.02


SIZES = {
    # Large weights, untied: otherwise so small a model repeats its last token and reads nothing.
    "tiny": Sizes("llama", 320, 96, 128, 2, 3, 1, 32, False, 4096, 0.3),
    "smollm2_135m": Sizes("llama", 49152, 576, 1536, 30, 9, 3, 64, True, 8192),
    "llama3.2_1b": Sizes("llama", 128256, 2048, 8192, 16, 32, 8, 64, True),
    "llama3.2_3b": Sizes("llama", 128256, 3072, 8192, 28, 24, 8, 128, True),
    "llama3.1_8b": Sizes("llama", 128256, 4096, 14336, 32, 32, 8, 128, False),
    "llama3.1_70b": Sizes("llama", 128256, 8192, 28672, 80, 64, 8, 128, False),
    "qwen2.5_3b": Sizes("qwen2", 151936, 2048, 11008, 36, 16, 2, 128, True, 32768),
    "qwen2.5_7b": Sizes("qwen2", 152064, 3584, 18944, 28, 28, 4, 128, False),
    "qwen2.5_14b": Sizes("qwen2", 152064, 5120, 13824, 48, 40, 8, 128, False),
    "qwen3_1.7b": Sizes("qwen3", 151936, 2048, 6144, 28, 16, 8, 128, True, 40960),
    "qwen3_4b": Sizes("qwen3", 151936, 2560, 9728, 36, 32, 8, 128, True, 40960),
    "qwen3_8b": Sizes("qwen3", 151936, 4096, 12288, 36, 32, 8, 128, False, 40960),
}


def random_model(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    seed: int = 0,
    sizes: Sizes | None = None,
) -> LoadedModel:
    """Make a model with random weights.

    Args:
        name: A key of `SIZES`; "_it" at its end makes no difference. With `sizes`, any name.
        device: As for `load_model`; a random model lies on one device.
        dtype: As for `load_model`.
        attention: As for `load_model`.
        seed: Seed of the weights.
        sizes: Sizes of your own.

    Raises:
        UserError: An unknown name, device, type or backend.
    """
    if sizes is None:
        if name.removesuffix("_it") not in SIZES:
            raise unknown_name("architecture for random weights", name, SIZES)
        sizes = SIZES[name.removesuffix("_it")]
    place = resolve_device(device).device
    torch_dtype = resolve_dtype(dtype, place)
    config = _config(sizes)
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.device(place):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch_dtype, attn_implementation="sdpa"
        )
    return LoadedModel(
        name=f"random_{name}",
        model=model.eval().requires_grad_(False),
        tokenizer=id_tokenizer(sizes.vocabulary),
        source=ModelSource(f"random_{name}", "folder", ""),
        revision=f"random weights, seed {seed}",
        device=place,
        dtype=torch_dtype,
        attention=choose_backend(attention, config, place),
        has_chat_template=False,
        context_length=context_length(config),
    )


def id_tokenizer(num_tokens: int) -> Any:
    """A tokenizer whose words are the token ids: "17 4 250" is [17, 4, 250], and back."""
    words = WordLevel({str(token): token for token in range(num_tokens)}, unk_token="0")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _config(sizes: Sizes) -> PreTrainedConfig:
    return CONFIGS[sizes.family](
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        tie_word_embeddings=sizes.tied,
        max_position_embeddings=sizes.context,
        initializer_range=sizes.spread,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )

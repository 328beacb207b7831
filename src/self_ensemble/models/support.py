"""Which architectures the packed attention works for, and with which backends.

The method stands on three things: every layer is softmax attention over all earlier tokens that
the mask allows (or over a window of them), positions are given from outside, and the model calls
the attention function that is registered with the library. Whatever lacks one of them is refused
with the reason: it would run and give wrong answers. What only the loaded model tells is found
out in its first pass (`passes/batch.py`).
"""

import inspect
import re
import sys
from collections.abc import Iterator

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from self_ensemble.errors import UserError, unknown_name

ATTENTION_LAYERS = frozenset({"attention", "full_attention", "sliding_attention"})
# How models say that they read in one direction where the configuration calls them a decoder.
DECODES_IF_ASKED = re.compile(r"(self\.is_(decoder|causal) = |is_causal=)config\.is_decoder")
SPARSE_LAYERS = frozenset(
    {"indexed_attention", "compressed_sparse_attention", "heavily_compressed_attention"}
)


def check_supported(config: PreTrainedConfig, model_class: type[PreTrainedModel] | None) -> None:
    """Refuse an architecture that cannot read several wordings side by side.

    Args:
        config: The model's configuration.
        model_class: Its causal language model; None where the library has none.

    Raises:
        UserError: It cannot work. The message names the model type and the reason.
    """
    reason = next(_reasons(config, model_class), None)
    if reason is not None:
        raise UserError(
            f"Model type {config.model_type!r} is not supported: {reason}. Choose a decoder-only "
            "model with full or sliding-window attention, such as Llama, Qwen, Mistral, Gemma, "
            "Phi-3 or GPT-2.",
            "SE-0306",
        )


def attention_backends(config: PreTrainedConfig) -> tuple[str, ...]:
    """The attention backends that compute this model's attention, the default one first."""
    # PyTorch's SDPA has no place for a softcap on the scores.
    return ("eager", "flex") if _has_softcap(config) else ("sdpa", "flex", "eager")


def choose_backend(asked: str, config: PreTrainedConfig, device: torch.device) -> str:
    """Turn `--attention` into the backend that will run.

    Args:
        asked: "auto", "sdpa", "flex" or "eager". "auto" is the model's default, never flex: on a
            CPU flex was measured and is slower, on a GPU neither has been.
        config: The model's configuration.
        device: Where the model runs.

    Raises:
        UserError: The name is unknown, or the backend cannot run this model on this device.
    """
    if asked not in ("auto", "sdpa", "flex", "eager"):
        raise unknown_name("attention backend", asked, ["auto", "sdpa", "flex", "eager"])
    backends = attention_backends(config)
    if asked == "auto":
        return backends[0]
    if asked not in backends:
        raise UserError(
            f"--attention {asked} cannot run model type {config.model_type!r}: its attention "
            f"scores are softcapped. Use --attention {' or '.join(backends)}.",
            "SE-0402",
        )
    if asked == "flex" and device.type == "mps":
        raise UserError(
            "--attention flex cannot run on mps: PyTorch compiles FlexAttention for CUDA and "
            f"CPU only. Use --attention {backends[0]}.",
            "SE-0402",
        )
    return asked


def context_length(config: PreTrainedConfig, model: PreTrainedModel | None = None) -> int | None:
    """Number of positions that a prompt and its answer may take, or None for no limit.

    Args:
        config: The model's configuration.
        model: The loaded model, which tells whether it keeps some positions for itself.
    """
    # The library maps other families' names (n_positions) to this one.
    lengths = [getattr(config, "max_position_embeddings", None), _longrope_limit(config)]
    limit = min((length for length in lengths if length is not None), default=None)
    return limit if limit is None or model is None else limit - first_position(model)


def why_no_longer(config: PreTrainedConfig, context_length: int) -> str:
    """Why a prompt and its answer may take no more positions; a clause for messages."""
    if _longrope_limit(config) != context_length:
        return f"the model has {context_length}"
    return (
        f"beyond {context_length} the model takes other rotary factors (longrope), for what is "
        "encoded already as well"
    )


def first_position(model: PreTrainedModel) -> int:
    """What a model calls the first position: 0, or in RoBERTa's kin one behind the padding's."""
    for module in model.modules():
        table = getattr(module, "position_embeddings", None)
        if hasattr(module, "create_position_ids_from_input_ids") and table is not None:
            padding: int | None = table.padding_idx
            return 0 if padding is None else padding + 1
    return 0


def _longrope_limit(config: PreTrainedConfig) -> int | None:
    """Positions up to which longrope (Ding et al. 2024, arXiv 2402.13753) has one set of factors.

    Beyond it the library takes another set for all tokens of a pass, and those that were encoded
    before keep the first one: a prefix and what is read behind it would not fit together.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    # One for all layers, or one for each type of layer.
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]
    limits = [
        kind.get("original_max_position_embeddings")
        or getattr(config, "original_max_position_embeddings", None)
        for kind in kinds
        if kind.get("rope_type") == "longrope"
    ]
    return min((limit for limit in limits if limit), default=None)


def _reasons(config: PreTrainedConfig, model_class: type[PreTrainedModel] | None) -> Iterator[str]:
    """Reasons why a model cannot work, the most telling one first."""
    text_config = _text_config(config)
    if config.model_type.endswith("_assistant"):
        yield "it drafts tokens for another model, whose hidden states it reads"
    if config.model_type == "blt":
        yield "it groups the bytes of a text into patches, which would span wordings"
    if config.is_encoder_decoder:
        yield "it is an encoder-decoder, which reads the question apart from the answer"
    if _has_alibi(config):
        yield "ALiBi ties its attention scores to the distance in the packed sequence"
    yield from _layer_reasons(text_config or config, model_class)
    if text_config is not config:
        yield (
            "it is a wrapper for images or sound around a language model; use a text-only "
            "checkpoint of the family"
        )
    if _reads_both_ways(config, model_class):
        yield "it reads in both directions and does not continue a text"
    if model_class is None:
        yield "transformers has no causal language model for it"
        return
    calls_ours = "ALL_ATTENTION_FUNCTIONS" in _source(model_class)
    # Code that came with a model may call it in a module that it imports, and says so.
    if not (calls_ours or model_class._supports_attention_backend):
        yield (
            f"{model_class.__name__} computes attention in code of its own; it would have to call "
            "the function that is registered with transformers' AttentionInterface"
        )
    if "position_ids" not in inspect.signature(model_class.forward).parameters:
        yield (
            f"{model_class.__name__} takes no position_ids, and counts positions through the "
            "packed sequence"
        )


def _layer_reasons(
    config: PreTrainedConfig, model_class: type[PreTrainedModel] | None
) -> Iterator[str]:
    """Reasons that lie in what the layers are."""
    kinds = set(getattr(config, "layer_types", None) or ())
    if "chunked_attention" in kinds or getattr(config, "attention_chunk_size", None):
        yield "chunked attention cuts the packed sequence at fixed positions"
        return
    if kinds & SPARSE_LAYERS:
        yield "its sparse attention chooses for itself which tokens it reads"
        return
    is_stateful = model_class is not None and model_class._is_stateful
    # A family with recurrent layers may have a model without: its layers tell.
    if kinds - ATTENTION_LAYERS or (is_stateful and not kinds):
        yield (
            "it is recurrent, at least in some layers: a state that passes through all tokens "
            "cannot keep wordings apart"
        )


def _has_softcap(config: PreTrainedConfig) -> bool:
    return getattr(config, "attn_logit_softcapping", None) is not None


def _has_alibi(config: PreTrainedConfig) -> bool:
    # Bloom has no such setting: it is always ALiBi. MPT keeps it one level down.
    attention = getattr(config, "attn_config", None)
    return config.model_type == "bloom" or bool(
        getattr(config, "alibi", False) or getattr(attention, "alibi", False)
    )


def _text_config(config: PreTrainedConfig) -> PreTrainedConfig | None:
    """The part of a configuration that is about text; None where several are."""
    try:
        return config.get_text_config()
    except ValueError:
        return None


def _source(model_class: type[PreTrainedModel]) -> str:
    """The code of the file that a model's class stands in."""
    return inspect.getsource(sys.modules[model_class.__module__])


def _reads_both_ways(config: PreTrainedConfig, model_class: type[PreTrainedModel] | None) -> bool:
    is_encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES or (
        model_class is not None and DECODES_IF_ASKED.search(_source(model_class)) is not None
    )
    return (
        (is_encoder and not getattr(config, "is_decoder", False))
        or getattr(config, "use_bidirectional_attention", None) in (True, "all")
        or not getattr(config, "is_causal", True)
    )

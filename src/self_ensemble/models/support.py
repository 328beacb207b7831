"""Which architectures the packed attention works for, and with which backends.

The method stands on three things: every layer is softmax attention over all earlier tokens that
the mask allows (or over a window of them), positions are given from outside, and the library
lets an attention function of ours run. Whatever lacks one of them is refused by name: it would
run and give wrong answers.
"""

from collections.abc import Iterator

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from self_ensemble.errors import UserError, unknown_name

ATTENTION_LAYERS = frozenset({"full_attention", "sliding_attention"})
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
            "Phi-3 or GPT-2."
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
            f"scores are softcapped. Use --attention {' or '.join(backends)}."
        )
    if asked == "flex" and device.type == "mps":
        raise UserError(
            "--attention flex cannot run on mps: PyTorch compiles FlexAttention for CUDA and "
            f"CPU only. Use --attention {backends[0]}."
        )
    return asked


def context_length(config: PreTrainedConfig) -> int | None:
    """Number of positions the model was made for, or None where the configuration has none."""
    # The library maps other families' names (n_positions) to this one.
    length: int | None = getattr(config, "max_position_embeddings", None)
    return length


def _reasons(config: PreTrainedConfig, model_class: type[PreTrainedModel] | None) -> Iterator[str]:
    """Reasons why a model cannot work, the most telling one first."""
    text_config = config.get_text_config()
    if config.is_encoder_decoder:
        yield "it is an encoder-decoder, which reads the question apart from the answer"
    if _has_alibi(config):
        yield "ALiBi ties its attention scores to the distance in the packed sequence"
    yield from _layer_reasons(text_config, model_class)
    if text_config is not config:
        yield (
            "it is a wrapper for images or sound around a language model; use a text-only "
            "checkpoint of the family"
        )
    if _reads_both_ways(config):
        yield "it reads in both directions and does not continue a text"
    if model_class is None:
        yield "transformers has no causal language model for it"
        return
    if not model_class._supports_attention_backend:
        yield f"{model_class.__name__} does not let an attention function of ours run"
    # What SDPA cannot compute, other than a softcap, is a term of the model's own in the softmax.
    if not model_class._supports_sdpa and not _has_softcap(config):
        yield f"{model_class.__name__} adds terms to the softmax, such as attention sinks"


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
    if kinds - ATTENTION_LAYERS or (model_class is not None and model_class._is_stateful):
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


def _reads_both_ways(config: PreTrainedConfig) -> bool:
    is_encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return (
        (is_encoder and not getattr(config, "is_decoder", False))
        or getattr(config, "use_bidirectional_attention", None) in (True, "all")
        or not getattr(config, "is_causal", True)
    )

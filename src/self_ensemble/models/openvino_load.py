"""From a model to its compiled graph, whose logits are compared with the model's own.

T tokens, V vocabulary.
"""

from itertools import pairwise
from typing import Any

import openvino as ov
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from self_ensemble.errors import UserError
from self_ensemble.models.engines import ANOTHER_MODEL, FAMILIES, check_family, refusal
from self_ensemble.models.openvino_graph import pass_graph
from self_ensemble.models.openvino_passes import HIDDEN, Fed, Graph, Request, shared

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.int8: "f32"}
# How many inputs of a linear layer are rounded to 8 bits with one scale: the most that divides all
# of them. More are hardly faster and less exact.
GROUPS = (128, 96, 64, 32)
# By how much of the largest logit one may be away from the model's own.
LIMITS = {torch.float32: 1e-4, torch.bfloat16: 1e-1, torch.int8: 3e-1}
# Tokens of the text that is compared, and the attention that the model has meanwhile.
NUM_CHECKED, OWN_PASS = 12, "self_ensemble_own_pass"


def make_graph(model: PreTrainedModel, dtype: torch.dtype, name: str) -> Graph:
    """Compile a model's passes.

    Args:
        model: A model of one of the families, on the CPU, with plain linear layers.
        dtype: What is computed in: float32, bfloat16, or int8.
        name: What the model is called, for messages.

    Raises:
        UserError: The model is not what its family's class makes, this processor cannot compute in
            that type, or the graph's logits are not the model's.
    """
    check_family(model.config, name)
    kind = type(model)
    if kind.__name__ != FAMILIES[model.config.model_type] or not kind.__module__.startswith(
        "transformers.models."
    ):
        raise refusal(
            f"knows transformers' own classes, and model {name!r} brings code of its own",
            ANOTHER_MODEL,
        )
    expected, windows = _own_pass(model, name)
    precision = PRECISIONS[dtype]
    options = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        # Runs beside each other must not share a core while another is free.
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": _group(model) if dtype == torch.int8 else 0,
    }
    compiled = ov.Core().compile_model(
        pass_graph(model, windows, in_8_bits=dtype == torch.int8), "CPU", options
    )
    if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != precision:
        raise refusal(
            f"cannot compute in {str(dtype).removeprefix('torch.')} on this processor",
            "Give --dtype float32",
        )
    graph = Graph(
        compiled,
        tuple(dict.fromkeys(windows)),
        model.model.rotary_emb,
        len(windows),
        int(model.config.num_attention_heads),
        int(model.config.num_key_value_heads),
        int(model.model.layers[0].self_attn.head_dim),
        int(model.get_output_embeddings().out_features),
        precision,
    )
    away = ((_logits(model, graph) - expected).abs().max() / expected.abs().max()).item()
    if not away <= LIMITS[dtype]:
        raise UserError(
            f"OpenVINO's graph of model {name!r} does not give the model's logits: one is away "
            f"by {away:.1e} of the largest, and {LIMITS[dtype]:.0e} is allowed. Use --engine "
            "torch.",
            "SE-0408",
        )
    return graph


def _group(model: PreTrainedModel) -> int:
    sizes = (model.config.hidden_size, model.config.intermediate_size)
    return next((group for group in GROUPS if not any(size % group for size in sizes)), 0)


def _text(model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """A few tokens, and positions that leave every window, `(T,)` each."""
    step = max(1, (getattr(model.config, "sliding_window", None) or 4) // 4)
    tokens = torch.arange(NUM_CHECKED)
    return 5 + tokens * 7919 % (model.config.vocab_size - 5), tokens * step


def _bias(positions: Tensor, window: int | None) -> Tensor:
    """Who reads whom among tokens of one text, `(1, 1, T, T)`."""
    distance = positions[:, None] - positions
    hidden = distance < 0
    if window is not None:
        hidden |= distance >= window
    return torch.zeros(1, 1, *distance.shape).masked_fill(hidden, HIDDEN)


@torch.inference_mode()
def _own_pass(model: PreTrainedModel, name: str) -> tuple[Tensor, tuple[int | None, ...]]:
    """What the model itself says of a text, `(T, V)`, and the window that each layer asks for."""
    token_ids, positions = _text(model)
    windows: dict[int, int | None] = {}

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
        scaling: float, sliding_window: int | None = None, **_: object,
    ) -> tuple[Tensor, None]:  # fmt: skip
        windows[module.layer_idx] = sliding_window
        bias = _bias(positions, sliding_window).to(query.dtype)
        read = scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=scaling, enable_gqa=True
        )
        return read.transpose(1, 2).contiguous(), None

    AttentionInterface.register(OWN_PASS, attention)
    before = model.config._attn_implementation
    model.set_attn_implementation(OWN_PASS)
    try:
        logits: Tensor = model(
            input_ids=token_ids[None], position_ids=positions[None], use_cache=False
        ).logits[0]
    finally:
        model.set_attn_implementation(before)
    if sorted(windows) != list(range(len(model.model.layers))):
        raise refusal(
            f"reads what every layer attends to, and model {name!r} does not show all",
            ANOTHER_MODEL,
        )
    return logits.float(), tuple(windows[layer] for layer in sorted(windows))


def _logits(model: PreTrainedModel, graph: Graph) -> Tensor:
    """The graph's logits of the same text: prefix, prompt and what comes later, `(T, V)`."""
    token_ids, positions = _text(model)
    first, second = NUM_CHECKED // 3, NUM_CHECKED // 2

    def run(request: Request, start: int, end: int, num_prefix: int) -> Tensor:
        places = torch.arange(end - start)
        rows, slots = torch.zeros_like(places), torch.arange(start, end) - num_prefix
        masks = {one: _bias(positions, one)[:, :, start:end, :end] for one in graph.windows}
        tokens, where = token_ids[start:end], positions[start:end]
        room = end - num_prefix
        return request.run(
            Fed(tokens, where, rows, places, slots, len(places), room, masks, places)
        )

    alone = Request(graph, (), 1)
    found = [run(alone, 0, first, 0)]
    behind = Request(graph, shared(alone.rows.values), 1)
    spans = pairwise((first, second, NUM_CHECKED - 1, NUM_CHECKED))
    found += [run(behind, start, end, first) for start, end in spans]
    return torch.cat(found)

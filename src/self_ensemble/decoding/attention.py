"""Attention over packed questions, registered with transformers; no model is patched.

A pass carries T tokens of B questions in one row. `sdpa` and `eager` lay the queries out as
`(B, Hq, R, D)`, R = most queries of any question, and read the cache rows; on a CPU `sdpa` takes
the questions one by one where more than a quarter of that is padding. `flex` keeps the flat row in
the prefill, where block sparsity pays, and decodes with `sdpa`: its one-token kernel refuses most
GQA ratios. None of them falls back to another. A captured step has its own attention, whichever
of them made the prefill.

Source: Dong et al., "Flex Attention: A Programming Model for Generating Optimized Attention
Kernels", arXiv 2412.05496.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention
from transformers import AttentionInterface

from self_ensemble.decoding.packed_pass import PackedPass
from self_ensemble.decoding.step import Step
from self_ensemble.errors import UserError


def sdpa(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, scale: float,
    window: int | None, softcap: float | None,
) -> Tensor:  # fmt: skip
    """PyTorch's scaled_dot_product_attention over the cache rows; `(1, T, Hq, D)`."""
    if softcap is not None:
        raise UserError(
            "The sdpa backend cannot cap attention scores, which this model needs. "
            "Use --attention eager or --attention flex."
        )
    if query.device.type == "cpu" and packed.wastes_padding():
        return _sdpa_by_question(query, key, value, packed, scale, window)
    rows = packed.to_rows(query)
    output = F.scaled_dot_product_attention(
        rows, key, value, attn_mask=packed.mask(window, rows), scale=scale, enable_gqa=True
    )
    return packed.to_tokens(output)


def _sdpa_by_question(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, scale: float,
    window: int | None,
) -> Tensor:  # fmt: skip
    outputs = [
        F.scaled_dot_product_attention(
            query[:, :, start:end], key[row : row + 1, :, :slots], value[row : row + 1, :, :slots],
            attn_mask=mask, scale=scale, enable_gqa=True,
        )
        for (row, start, end, slots), mask in zip(
            packed.spans(), packed.span_masks(window, query), strict=True
        )
    ]  # fmt: skip
    found = torch.cat(outputs, dim=2)
    result: Tensor = F.pad(found, (0, 0, 0, packed.num_padding)).transpose(1, 2)
    return result


def eager(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, scale: float,
    window: int | None, softcap: float | None,
) -> Tensor:  # fmt: skip
    """Softmax attention written out, for models and devices that need it; `(1, T, Hq, D)`."""
    rows = packed.to_rows(query)
    num_rows, num_heads, num_columns, head_dim = rows.shape
    grouped = rows.reshape(num_rows, key.shape[1], -1, num_columns, head_dim)
    scores = (grouped @ key[:, :, None].transpose(-1, -2)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    probs = (scores + packed.mask(window, scores)[:, :, None]).softmax(dim=-1).to(value.dtype)
    output = (probs @ value[:, :, None]).reshape(num_rows, num_heads, num_columns, head_dim)
    return packed.to_tokens(output)


def flex(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, scale: float,
    window: int | None, softcap: float | None,
) -> Tensor:  # fmt: skip
    """Compiled FlexAttention over the flat row in the prefill, sdpa in the decode steps."""
    if packed.flat is None:
        decode = eager if softcap is not None else sdpa
        return decode(query, key, value, packed, scale, window, softcap)
    block_mask, score_mod = packed.block_mask(window, softcap, query, key)
    try:
        output = _compiled_flex()(
            query, key, value, score_mod=score_mod, block_mask=block_mask, scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )  # fmt: skip
    except torch.OutOfMemoryError:
        raise
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"FlexAttention does not compile here ({reason}). Use --attention sdpa."
        ) from error
    result: Tensor = output.transpose(1, 2)
    return result


@lru_cache(maxsize=1)
def _compiled_flex() -> Callable[..., Tensor]:
    # Static shapes: lengths come in buckets, and dynamic shapes do not compile on every CPU.
    return torch.compile(flex_attention, dynamic=False)


def _registered(backend: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, None]]:
    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        packed: PackedPass | Step | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, None]:
        # A mask at this place is the model's own: the library makes none for our functions.
        if packed is None or s_aux is not None or attention_mask is not None:
            raise UserError(
                f"{type(module).__name__} does not pass its arguments on to the attention "
                "function, or needs attention sinks or a mask of its own; this architecture is "
                "not supported."
            )
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        # The cache may hold keys and values in a wider type than the model's.
        wide = query.to(key.dtype)
        if isinstance(packed, Step):
            output = packed.attend(
                cast(int, module.layer_idx), wide, key, value, scale, sliding_window, softcap
            )
        else:
            packed.num_layer_calls += 1
            packed.windows.add(sliding_window)
            output = backend(wide, key, value, packed, scale, sliding_window, softcap)
        return output.to(query.dtype), None

    return attention


BACKENDS = {"sdpa": sdpa, "flex": flex, "eager": eager}


def attention_name(backend: str) -> str:
    """The name under which transformers knows a key of `BACKENDS`."""
    return f"self_ensemble_{backend}"


for _backend, _function in BACKENDS.items():
    AttentionInterface.register(attention_name(_backend), _registered(_function))

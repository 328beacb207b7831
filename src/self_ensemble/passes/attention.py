"""Attention over packed questions, registered with transformers; no model is patched.

A pass carries T tokens of B questions in one row. `sdpa` and `eager` lay the queries out as
`(B, Hq, R, D)`, R = most queries of any question, and read the cache rows; on a CPU they take
the questions one by one where more than a quarter of that is padding. A prefix that is held once
is read by all tokens together, and the two parts are merged. `flex` keeps the flat row in the
prefill, where block sparsity pays, and decodes with `sdpa`: its one-token kernel refuses most GQA
ratios. None of them falls back to another. A captured step has its own attention, whichever of
them made the prefill.

Source: Dong et al., "Flex Attention: A Programming Model for Generating Optimized Attention
Kernels", arXiv 2412.05496.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention
from transformers import AttentionInterface

from self_ensemble.errors import UserError
from self_ensemble.passes.current_pass import Pass, current_pass
from self_ensemble.passes.packed_pass import PackedPass
from self_ensemble.passes.partial_attention import (
    Part,
    fused_part,
    merged,
    plain_part,
    with_sinks,
)

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Part]


def sdpa(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, layer: int, scale: float,
    window: int | None, softcap: float | None, sinks_H: Tensor | None,
) -> Tensor:  # fmt: skip
    """PyTorch's fused attention over the prefix and the cache rows; `(1, T, Hq, D)`."""
    if softcap is not None:
        raise UserError(
            "The sdpa backend cannot cap attention scores, which this model needs. "
            "Use --attention eager or --attention flex.",
            "SE-0402",
        )
    if query.device.type != "cpu" and sinks_H is not None:
        # Sinks need the sum of the exponentials, which PyTorch's kernels for GPUs keep.
        return eager(query, key, value, packed, layer, scale, window, None, sinks_H)
    if query.device.type != "cpu":
        rows = packed.to_rows(query)
        mask = packed.mask(window, query.device, query.dtype)
        output = F.scaled_dot_product_attention(
            rows, key, value, attn_mask=mask, scale=scale, enable_gqa=True
        )
        return packed.to_tokens(output.transpose(1, 2))
    attend = partial(fused_part, scale=scale)
    dtype = query.dtype
    return _prefix_and_rows(attend, query, key, value, packed, layer, window, dtype, sinks_H)


def eager(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, layer: int, scale: float,
    window: int | None, softcap: float | None, sinks_H: Tensor | None,
) -> Tensor:  # fmt: skip
    """Softmax attention written out, for models and devices that need it; `(1, T, Hq, D)`."""
    attend = partial(plain_part, scale=scale, softcap=softcap)
    # Scores are float32 whatever the model is, and so is what is added to them.
    dtype = torch.float32
    return _prefix_and_rows(attend, query, key, value, packed, layer, window, dtype, sinks_H)


def _prefix_and_rows(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, layer: int,
    window: int | None, mask_dtype: torch.dtype, sinks_H: Tensor | None,
) -> Tensor:  # fmt: skip
    device = query.device
    if device.type == "cpu" and packed.wastes_padding():
        masks = packed.span_masks(window, device, mask_dtype)
        rows = _by_question(attend, query, key, value, packed, masks)
    else:
        mask = packed.mask(window, device, mask_dtype)
        found = attend(packed.to_rows(query), key, value, mask)
        rows = Part(*(packed.to_tokens(one.transpose(1, 2)) for one in found))
    output, logsumexp = rows
    if packed.prefix:
        keys, values = (one.transpose(0, 1)[None] for one in packed.prefix[layer])
        found = attend(query, keys, values, packed.prefix_mask(window, device, mask_dtype))
        prefix = Part(*(one.transpose(1, 2) for one in found))
        output = merged(prefix, rows)
        if sinks_H is not None:
            logsumexp = torch.logaddexp(prefix.logsumexp, logsumexp)
    return output if sinks_H is None else with_sinks(output, logsumexp, sinks_H)


def _by_question(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, packed: PackedPass,
    masks: Sequence[Tensor],
) -> Part:  # fmt: skip
    """What tokens read from their question's row, `(1, T, Hq, D)` and `(1, T, Hq)`."""
    parts = [
        attend(
            query[:, :, start:end], key[row : row + 1, :, :slots], value[row : row + 1, :, :slots],
            mask,
        )
        for (row, start, end, slots), mask in zip(packed.spans(), masks, strict=True)
    ]  # fmt: skip
    output = torch.cat([part.output for part in parts], dim=2).transpose(1, 2)
    logsumexp = torch.cat([part.logsumexp for part in parts], dim=2).transpose(1, 2)
    more = packed.num_padding
    return Part(F.pad(output, (0, 0, 0, 0, 0, more)), F.pad(logsumexp, (0, 0, 0, more)))


def flex(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedPass, layer: int, scale: float,
    window: int | None, softcap: float | None, sinks_H: Tensor | None,
) -> Tensor:  # fmt: skip
    """Compiled FlexAttention over the flat row in the prefill, sdpa in the decode steps."""
    if sinks_H is not None:
        raise UserError(
            "The flex backend has no attention sinks, which this model needs. "
            "Use --attention sdpa or --attention eager.",
            "SE-0402",
        )
    if packed.flat is None:
        decode = eager if softcap is not None else sdpa
        return decode(query, key, value, packed, layer, scale, window, softcap, None)
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
            f"FlexAttention does not compile here ({reason}). Use --attention sdpa.", "SE-0403"
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
        packed: Pass | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, None]:
        # A mask at this place is the model's own: the library makes none for our functions.
        if attention_mask is not None:
            raise UserError(
                f"{type(module).__name__} makes an attention mask of its own, which does not know "
                "of wordings; this architecture is not supported.",
                "SE-0306",
            )
        packed = packed or current_pass()
        assert packed is not None, "the model is called outside of a pass"
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        # The cache may hold keys and values in a wider type than the model's.
        wide = query.to(key.dtype)
        layer = cast(int, module.layer_idx)
        output = packed.attend(
            backend, wide, key, value, layer, scale, sliding_window, softcap, s_aux
        )
        # Some models look at it as (..., Hq * D) without copying.
        return output.to(query.dtype).contiguous(), None

    return attention


BACKENDS = {"sdpa": sdpa, "flex": flex, "eager": eager}


def attention_name(backend: str) -> str:
    """The name under which transformers knows a key of `BACKENDS`.

    The library looks for names of its own in it, and would refuse ours where its own is refused.
    """
    return {
        "sdpa": "self_ensemble_fused",
        "flex": "self_ensemble_blocks",
        "eager": "self_ensemble_written_out",
    }[backend]


for _backend, _function in BACKENDS.items():
    AttentionInterface.register(attention_name(_backend), _registered(_function))

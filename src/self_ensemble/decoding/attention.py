"""Attention over packed questions, registered with transformers; no model is patched.

A pass carries T tokens of B questions in one row. `sdpa` and `eager` lay the queries out as
`(B, Hq, R, D)`, R = most queries of any question, and read the cache rows. `flex` keeps the flat
row in the prefill, where block sparsity pays, and decodes with `sdpa`: its one-token kernel
refuses most GQA ratios. None of them falls back to another.

Source: Dong et al., "Flex Attention: A Programming Model for Generating Optimized Attention
Kernels", arXiv 2412.05496.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface

from self_ensemble.errors import UserError
from self_ensemble.packing.visibility import NEVER, FlatTokens, ScoreMod, within_window

BACKENDS = ("sdpa", "flex", "eager")


@dataclass(slots=True)
class PackedPass:
    """What attention must know of one forward pass.

    Attributes:
        rows_T: Question of each query, `(T,)`.
        columns_T: Place of each query among its question's queries, `(T,)`.
        num_padding: Tokens behind the T that are of no question.
        bias_BRS: Additive mask over the cache rows, float32; None in a flat pass.
        query_positions_BR: Position ids of the queries, for sliding windows.
        key_positions_BS: Position ids of the cached keys, for sliding windows.
        flat: The flat row's visibility, in a FlexAttention prefill.
        num_layer_calls: Layers that have called attention.
        windows: Sliding windows that they have asked for.
    """

    rows_T: Tensor
    columns_T: Tensor
    num_padding: int = 0
    bias_BRS: Tensor | None = None
    query_positions_BR: Tensor | None = None
    key_positions_BS: Tensor | None = None
    flat: FlatTokens | None = None
    num_layer_calls: int = 0
    windows: set[int | None] = field(default_factory=set)
    _made: dict[object, Any] = field(default_factory=dict)
    _places: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def num_masks(self) -> int:
        """Masks built in this pass, one for each kind of layer."""
        return len(self._made)

    def mask(self, window: int | None, like: Tensor) -> Tensor:
        """The additive mask `(B, 1, R, S)` of a layer, made once per window, device and dtype."""
        key = (window, like.device, like.dtype)
        if key not in self._made:
            assert self.bias_BRS is not None
            bias = self.bias_BRS
            if window is not None:
                assert self.query_positions_BR is not None
                assert self.key_positions_BS is not None
                inside = within_window(
                    self.query_positions_BR[:, :, None], self.key_positions_BS[:, None, :], window
                )
                bias = bias.where(inside, NEVER)
            self._made[key] = bias[:, None].to(like.device, like.dtype)
        mask: Tensor = self._made[key]
        return mask

    def block_mask(
        self, window: int | None, softcap: float | None, query: Tensor, key: Tensor
    ) -> tuple[BlockMask, ScoreMod]:
        """FlexAttention's mask and score function, made once per window, softcap and device."""
        made = (window, softcap, query.device)
        if made not in self._made:
            assert self.flat is not None
            mask_mod, score_mod = self.flat.to(query.device).mods(window, softcap)
            block_mask = create_block_mask(
                mask_mod, None, None, query.shape[2], key.shape[2], device=str(query.device)
            )
            self._made[made] = (block_mask, score_mod)
        found: tuple[BlockMask, ScoreMod] = self._made[made]
        return found

    def places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Question and column of each query, on the device of the layer that asks.

        Padding has the place of some real query, whose output it gets.
        """
        if device not in self._places:
            more = (0, self.num_padding)
            self._places[device] = (
                F.pad(self.rows_T, more).to(device), F.pad(self.columns_T, more).to(device),
            )  # fmt: skip
        return self._places[device]

    def to_rows(self, query: Tensor) -> Tensor:
        """Queries of the flat row `(1, Hq, T, D)` as `(B, Hq, R, D)`."""
        assert self.bias_BRS is not None
        num_rows, num_columns, _ = self.bias_BRS.shape
        _, num_heads, num_tokens, head_dim = query.shape
        if num_rows == 1 and num_columns == num_tokens:
            return query
        rows = query.new_zeros(num_rows, num_columns, num_heads, head_dim)
        real = len(self.rows_T)
        row_T, column_T = self.places(query.device)
        rows[row_T[:real], column_T[:real]] = query[0].transpose(0, 1)[:real]
        return rows.transpose(1, 2)

    def to_tokens(self, rows: Tensor) -> Tensor:
        """Outputs `(B, Hq, R, D)` as the flat row `(1, T, Hq, D)` that transformers expects."""
        per_row = rows.transpose(1, 2)
        return per_row[self.places(rows.device)][None]


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
    rows = packed.to_rows(query)
    output = F.scaled_dot_product_attention(
        rows, key, value, attn_mask=packed.mask(window, rows), scale=scale, enable_gqa=True
    )
    return packed.to_tokens(output)


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
        packed: PackedPass | None = None,
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
        packed.num_layer_calls += 1
        packed.windows.add(sliding_window)
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return backend(query, key, value, packed, scale, sliding_window, softcap), None

    return attention


for _name, _function in (("sdpa", sdpa), ("flex", flex), ("eager", eager)):
    AttentionInterface.register(f"self_ensemble_{_name}", _registered(_function))

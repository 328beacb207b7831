"""One forward pass as attention sees it: whose the tokens are, where they lie, who reads whom.

T tokens of B questions stand in one row; R = most queries of any question, S = slots in use.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from self_ensemble.errors import UserError
from self_ensemble.packing.visibility import NEVER, FlatTokens, ScoreMod, within_window
from self_ensemble.passes.cache import Layers
from self_ensemble.passes.current_pass import Backend
from self_ensemble.passes.flat_row import row_block_mask
from self_ensemble.passes.partial_attention import HIDDEN

# Share of real work in padded rows below which a CPU does better without: measured, a call by
# itself costs as much as a third of the work of a question with one query.
PADDED_FROM = 0.75

# Looks at what a layer attends to, with the arguments of `PackedPass.attend` but the backend and
# the values.
Watch = Callable[
    ["PackedPass", Tensor, Tensor, int, float, int | None, float | None, Tensor | None], None
]


class Span(NamedTuple):
    """A question's own part of a pass: its queries in the flat row, its keys in its cache row."""

    row: int
    start: int
    end: int
    num_slots: int


@dataclass(slots=True)
class PackedPass:
    """What attention must know of one forward pass.

    Attributes:
        prefix: Keys and values of the prefix for each layer, `(P, Hkv, D)`, where it is not in
            the cache rows; every token reads all of it, or what its window leaves.
        stored: What layers have got from the cache and not yet attended to.
        rows_T: Question of each query, `(T,)`.
        columns_T: Place of each query among its question's queries, `(T,)`.
        used_B: Slots in use of each question's cache row, those of this pass included.
        num_padding: Tokens behind the T that are of no question.
        bias_BRS: Additive mask over the cache rows, float32; None in a flat pass.
        query_positions_T: Position ids of the queries, those of padding included.
        query_positions_BR: Position ids of the queries, for sliding windows.
        key_positions_BS: Position ids of the cached keys, for sliding windows.
        flat: The flat row's visibility, in a FlexAttention prefill.
        layers: Layers that have called attention.
        windows: Sliding windows that they have asked for.
        reads_rows: Whether each has read what it has got from the cache, as it was.
        watch: Is shown queries and keys of every layer, if asked for.
    """

    rows_T: Tensor
    columns_T: Tensor
    used_B: Tensor
    prefix: Layers = ()
    stored: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    num_padding: int = 0
    bias_BRS: Tensor | None = None
    query_positions_T: Tensor | None = None
    query_positions_BR: Tensor | None = None
    key_positions_BS: Tensor | None = None
    flat: FlatTokens | None = None
    layers: set[int] = field(default_factory=set)
    windows: set[int | None] = field(default_factory=set)
    reads_rows: bool = True
    watch: Watch | None = None
    _made: dict[object, Any] = field(default_factory=dict)
    _places: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _spans: list[Span] | None = None
    _span_masks: dict[object, list[Tensor]] = field(default_factory=dict)

    @property
    def num_masks(self) -> int:
        """Masks built in this pass, one for each kind of layer."""
        return len(self._made)

    @property
    def prefix_length(self) -> int:
        """Keys of the prefix that is not in the rows."""
        return self.prefix[0][0].shape[0] if self.prefix else 0

    def attend(
        self, backend: Backend, query: Tensor, key: Tensor, value: Tensor, layer: int,
        scale: float, window: int | None, softcap: float | None, sinks_H: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """What the queries of a layer read, by the backend; `(1, T, Hq, D)`."""
        self.note_call(layer, key, value, window)
        if self.watch is not None:
            self.watch(self, query, key, layer, scale, window, softcap, sinks_H)
        return backend(query, key, value, self, layer, scale, window, softcap, sinks_H)

    def note_call(self, layer: int, key: Tensor, value: Tensor, window: int | None) -> None:
        """A layer attends to these.

        Raises:
            UserError: It has done so in this pass before.
        """
        if layer in self.layers:
            raise UserError(
                f"Layer {layer} of this model calls the attention function more than once in a "
                "pass; this architecture is not supported.",
                "SE-0306",
            )
        self.layers.add(layer)
        self.windows.add(window)
        # Taken out: flat rows of all layers at once would be much.
        stored_key, stored_value = self.stored.pop(layer, (None, None))
        self.reads_rows &= key is stored_key and value is stored_value

    def mask(self, window: int | None, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The additive mask `(B, 1, R, S)` of a layer, made once per window, device and dtype."""
        key = (window, device, dtype)
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
            self._made[key] = bias[:, None].to(device, dtype)
        mask: Tensor = self._made[key]
        return mask

    def prefix_mask(
        self, window: int | None, device: torch.device, dtype: torch.dtype
    ) -> Tensor | None:
        """What a layer with a window hides of the prefix, `(1, 1, T, P)`; None for nothing."""
        assert self.query_positions_T is not None
        if window is None or int(self.query_positions_T.max()) < window:
            return None
        key = ("prefix", window, device, dtype)
        if key not in self._made:
            places = torch.arange(self.prefix_length)
            inside = within_window(self.query_positions_T[:, None], places, window)
            bias = torch.zeros(inside.shape).where(inside, HIDDEN)
            self._made[key] = bias[None, None].to(device, dtype)
        mask: Tensor = self._made[key]
        return mask

    def spans(self) -> list[Span]:
        """The questions that have queries in this pass."""
        if self._spans is None:
            counts = torch.bincount(self.rows_T)
            ends = counts.cumsum(0)
            table = torch.stack([ends - counts, ends, self.used_B[: len(counts)]], dim=1).tolist()
            self._spans = [
                Span(row, start, end, slots)
                for row, (start, end, slots) in enumerate(table)
                if end > start
            ]
        return self._spans

    def wastes_padding(self) -> bool:
        """Whether too little of `(B, R, S)` is a question's own query and a key of its own."""
        assert self.bias_BRS is not None
        work = sum((end - start) * num_slots for _, start, end, num_slots in self.spans())
        return work < PADDED_FROM * self.bias_BRS.numel()

    def span_masks(
        self, window: int | None, device: torch.device, dtype: torch.dtype
    ) -> list[Tensor]:
        """The masks `(1, 1, R, S)` of `spans`, each with its question's own R and S."""
        key = (window, device, dtype)
        if key not in self._span_masks:
            mask = self.mask(window, device, dtype)
            self._span_masks[key] = [
                mask[row : row + 1, :, : end - start, :num_slots]
                for row, start, end, num_slots in self.spans()
            ]
        return self._span_masks[key]

    def block_mask(
        self, window: int | None, softcap: float | None, query: Tensor, key: Tensor
    ) -> tuple[BlockMask, ScoreMod]:
        """FlexAttention's mask and score function, made once per window, softcap and device."""
        made = (window, softcap, query.device)
        if made not in self._made:
            assert self.flat is not None
            found = row_block_mask(self.flat.to(query.device), window, softcap)
            assert found[0].seq_lengths == (query.shape[2], key.shape[2])
            self._made[made] = found
        kept: tuple[BlockMask, ScoreMod] = self._made[made]
        return kept

    def places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Question and column of each query, on the device of the layer that asks.

        Padding has the place of the first query, whose output it gets.
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
        """What was found for rows, `(B, R, ...)`, as the flat row `(1, T, ...)`."""
        if rows.shape[0] == 1 and not self.num_padding:
            return rows
        return rows[self.places(rows.device)][None]

"""The KV cache of a batch: one row per question, behind the run's prefix.

B questions, S slots, Hkv key-value heads, D head dim, P prefix length, T tokens of one pass.

    prefix, once:  | P |        row b:  | prompt of question b | generated tokens | free slots ...

Where that does not pay, rows have a copy of the prefix in front (`prefix_in_rows`): with few
questions behind a short prefix, and on a GPU, where PyTorch's attention does not tell what putting
two parts together needs.

The tokens of a pass come as one packed sequence `(1, T)`, so hardly any matrix product is spent on
padding; the cache writes token t to its question's row and hands the rows to attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Layers = Sequence[tuple[Tensor, Tensor]]  # keys and values of each layer
GROWTH = 64  # slots come in multiples of it; attention only reads the slots in use


@dataclass(slots=True)
class RowCache:
    """Keys and values of every layer, in the shape that transformers' models expect of a cache.

    On a CPU those of 16-bit models are widened to float32.

    Attributes:
        num_rows: Questions in the batch, B.
        prefix: Keys and values of the prefix for each layer, `(P, Hkv, D)`; empty for no prefix.
        prefix_in_rows: Whether the prefix stands in front of every row, too.
        rows: Question of each token of the current pass, `(T,)`.
        slots: Slot of each token of the current pass, `(T,)`.
        num_slots: Slots in use in the fullest row.
        flat: Whether attention gets the prefix and the pass's own tokens in one row (prefill with
            FlexAttention) instead of the rows.
        keys: Of each layer, `(B, S, Hkv, D)`.
        values: The same.
        stored: What layers have got from `update` and not yet attended to.
    """

    num_rows: int
    prefix: Layers = ()
    prefix_in_rows: bool = False
    rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    slots: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    num_slots: int = 0
    flat: bool = False
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    stored: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _on_device: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def is_initialized(self) -> bool:
        """For models that read both ways in a first pass, which no pass of ours is."""
        return True

    @property
    def num_prefix_slots(self) -> int:
        """Slots at the start of every row that hold the prefix."""
        return self.prefix[0][0].shape[0] if self.prefix_in_rows and self.prefix else 0

    def begin(self, rows: Tensor, slots: Tensor, num_slots: int, *, flat: bool) -> None:
        """Say where the tokens of the next forward pass go."""
        self.rows, self.slots, self.num_slots, self.flat = rows, slots, num_slots, flat
        self._on_device.clear()
        self.stored.clear()

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store one layer's keys and values `(1, Hkv, T, D)`; return what attention reads."""
        keys, values = kept_as(keys), kept_as(values)
        new = keys[0].transpose(0, 1), values[0].transpose(0, 1)
        if layer_idx == len(self.keys):
            for buffers, index in ((self.keys, 0), (self.values, 1)):
                buffers.append(self._with_prefix(new[index], layer_idx, index))
        if self.keys[layer_idx].shape[1] < self.num_slots:
            self.keys[layer_idx] = self._grown(self.keys[layer_idx])
            self.values[layer_idx] = self._grown(self.values[layer_idx])
        rows, slots = self._places(keys.device)
        self.keys[layer_idx][rows, slots] = new[0][: len(rows)]
        self.values[layer_idx][rows, slots] = new[1][: len(rows)]
        if self.flat:
            found = self._flat(new[0], layer_idx, 0), self._flat(new[1], layer_idx, 1)
        else:
            used = slice(0, self.num_slots)
            found = (
                self.keys[layer_idx][:, used].transpose(1, 2),
                self.values[layer_idx][:, used].transpose(1, 2),
            )
        self.stored[layer_idx] = found
        return found

    @property
    def slot_bytes(self) -> int:
        """What one slot takes in all layers; 0 as long as nothing was encoded."""
        if self.keys:
            return sum(buffer[0, 0].nbytes for buffer in [*self.keys, *self.values])
        return sum(one[0].nbytes for layer in self.prefix for one in layer)

    def bytes_to_add(self) -> int:
        """By how much the rows grow in the current pass."""
        old = self.keys[0].shape[1] if self.keys else 0
        more = _grown_size(old, self.num_slots) - old if self.num_slots > old else 0
        return more * self.num_rows * self.slot_bytes

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Length for transformers' own book-keeping; positions are always passed explicitly."""
        return self.num_slots

    def first_row(self) -> Layers:
        """Keys and values of the first row, for each layer, `(S, Hkv, D)`."""
        used = slice(0, self.num_slots)
        # A copy: buffers are rounded up and would be kept whole.
        return [
            (keys[0, used].clone(), values[0, used].clone())
            for keys, values in zip(self.keys, self.values, strict=True)
        ]

    def num_bytes(self) -> int:
        """Bytes held by keys and values."""
        return sum(buffer.nbytes for buffer in [*self.keys, *self.values])

    def _places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._on_device:
            self._on_device[device] = (self.rows.to(device), self.slots.to(device))
        return self._on_device[device]

    def _with_prefix(self, new_THD: Tensor, layer_idx: int, index: int) -> Tensor:
        # Zeros, not empty: a masked slot has weight 0, and 0 x nan is nan.
        slots = _grown_size(0, self.num_slots)
        buffer = new_THD.new_zeros(self.num_rows, slots, *new_THD.shape[1:])
        if self.num_prefix_slots:
            buffer[:, : self.num_prefix_slots] = self.prefix[layer_idx][index]
        return buffer

    def _grown(self, buffer: Tensor) -> Tensor:
        old = buffer.shape[1]
        slots = _grown_size(old, self.num_slots)
        larger = buffer.new_empty(self.num_rows, slots, *buffer.shape[2:])
        larger[:, :old] = buffer
        larger[:, old:] = 0.0
        return larger

    def _flat(self, new_THD: Tensor, layer_idx: int, index: int) -> Tensor:
        parts = [self.prefix[layer_idx][index], new_THD] if self.prefix else [new_THD]
        return torch.cat(parts).transpose(0, 1)[None]


def kept_as(values: Tensor) -> Tensor:
    """Keys or values in the type that they are kept in."""
    if values.device.type == "cpu" and values.dtype.itemsize < torch.float32.itemsize:
        # One query per question, bfloat16: ten times slower than float32, and less exact.
        return values.float()
    return values


def _grown_size(old: int, num_slots: int) -> int:
    """Slots of rows that had `old` and must hold so many."""
    # By half at least, so that a long run of growing answers copies each key a few times.
    return -(-max(num_slots, old + old // 2) // GROWTH) * GROWTH


def rank_within(sorted_rows: Tensor) -> Tensor:
    """Place of each entry among the entries of its row: [0, 0, 2, 2, 2] -> [0, 1, 0, 1, 2]."""
    first = torch.searchsorted(sorted_rows, sorted_rows)
    return torch.arange(len(sorted_rows)) - first

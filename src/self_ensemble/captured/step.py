"""One decode step of fixed shape, in buffers that stay in place: what a GPU can replay.

    keys that a stream of row b reads:
    | prefix, held once for all rows (P) | prompt of question b | free | step 1 | step 2 | ...
                                          <----------------- S slots -------------------->

The host asks for a step and goes on: `run` does not wait for the device. On CUDA the forward pass
is captured once as a graph and then replayed, so a step costs its kernels and no launches; it may
be compiled before, so that there are fewer kernels. On other devices the same pass runs anew over
the same buffers.

B rows, K streams of each row, S slots, P prefix length, Hq / Hkv heads, D head dim, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from self_ensemble.captured.attention import step_attention
from self_ensemble.captured.graphs import captured, compiled_forward
from self_ensemble.models import support
from self_ensemble.models.load import LoadedModel
from self_ensemble.packing.visibility import NEVER, within_window
from self_ensemble.passes.cache import Layers
from self_ensemble.passes.current_pass import Backend, going_on
from self_ensemble.passes.lengths import slot_bucket


class StepShape(NamedTuple):
    """What a captured pass is fixed to."""

    num_rows: int
    num_streams: int
    num_slots: int

    @classmethod
    def holding(cls, num_rows: int, num_streams: int, num_slots: int) -> "StepShape":
        """The smallest shape of few that holds so much."""
        return cls(1 << (num_rows - 1).bit_length(), num_streams, slot_bucket(num_slots))


class Prompts(NamedTuple):
    """What a prefill has left behind, row by row, the prefix not included.

    Attributes:
        layers: Keys and values, `(B, L, Hkv, D)` each, L slots of the longest prompt.
        bias_BGG: Visibility tables.
        groups_BL: Group of each slot.
        positions_BL: Position id of each slot.
        stream_groups_BK: Group of each stream.
        stream_positions_BK: Position id of the first token of each stream.
    """

    layers: Layers
    bias_BGG: Tensor
    groups_BL: Tensor
    positions_BL: Tensor
    stream_groups_BK: Tensor
    stream_positions_BK: Tensor


@dataclass(slots=True)
class Step:
    """A forward pass of one token for each of K streams of B rows.

    It is the cache that transformers' models expect, and what the attention function gets: both
    write to and read from the same buffers. A captured pass knows weights and buffers by their
    place in memory: a model must not be moved or merged while it is in use.

    Attributes:
        model: The model, on one device.
        shape: B, K and S.
        prefix: Keys and values of the prefix for each layer, `(P, Hkv, D)`; empty for no prefix.
        compiled: Whether the pass is compiled first.
        graph_pool: Memory that graphs of several steps share: one runs at a time.
        keys: For each layer, `(B, Hkv, S, D)`.
        values: The same.
        logits: Of the last step, float32, `(B * K, V)`; the next step overwrites it.
    """

    model: LoadedModel
    shape: StepShape
    prefix: Layers
    compiled: bool = False
    graph_pool: Any = None
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    logits: Tensor = field(init=False)
    _token_ids: Tensor = field(init=False)
    _positions: Tensor = field(init=False)
    _slots_K: Tensor = field(init=False)
    _bias_BKS: Tensor = field(init=False)
    _key_positions_BS: Tensor = field(init=False)
    _own_KK: Tensor = field(init=False)
    _next_slot: int = 0
    _masks: dict[int | None, Tensor] = field(default_factory=dict)
    _replay: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        num_rows, num_streams, num_slots = self.shape
        device = self.model.device
        self._token_ids = torch.zeros(1, num_rows * num_streams, dtype=torch.long, device=device)
        self._positions = torch.zeros_like(self._token_ids)
        self._slots_K = torch.zeros(num_streams, dtype=torch.long, device=device)
        self._bias_BKS = torch.zeros(num_rows, num_streams, num_slots, device=device)
        self._key_positions_BS = torch.zeros(num_rows, num_slots, dtype=torch.long, device=device)
        own = torch.full((num_streams, num_streams), NEVER).fill_diagonal_(0.0)
        self._own_KK = own.to(device)

    def load(self, prompts: Prompts, num_steps: int) -> None:
        """Take over a batch's prompts; rows beyond them are computed and not used."""
        num_rows, num_streams, num_slots = self.shape
        size, length = prompts.groups_BL.shape
        first = num_slots - num_steps * num_streams
        assert length <= first
        if not self.keys:
            self._allocate(prompts.layers)
        for layer, (keys, values) in enumerate(prompts.layers):
            for buffer, new in ((self.keys[layer], keys), (self.values[layer], values)):
                buffer[:size, :, :length] = new.transpose(1, 2)
                # A masked slot has weight 0, and 0 x nan, of some batch before, is nan.
                buffer[:size, :, length:] = 0.0
        # On the host until it is whole: many small writes.
        bias = torch.zeros(self._bias_BKS.shape)
        bias[:size] = NEVER
        bias[:size, :, :length] = prompts.bias_BGG[
            torch.arange(size)[:, None, None],
            prompts.stream_groups_BK[:, :, None],
            prompts.groups_BL[:, None, :],
        ]
        key_positions = torch.zeros(self._key_positions_BS.shape, dtype=torch.long)
        key_positions[:size, :length] = prompts.positions_BL
        start = F.pad(prompts.stream_positions_BK, (0, 0, 0, num_rows - size))
        steps = torch.arange(num_steps)[None, :, None]
        key_positions[:, first:] = (start[:, None, :] + steps).reshape(num_rows, -1)
        self._bias_BKS.copy_(bias)
        self._key_positions_BS.copy_(key_positions)
        self._positions.copy_(start.reshape(1, -1))
        self._next_slot = first

    def run(self, tokens_BK: Tensor) -> Tensor:
        """Feed each stream of the loaded rows its next token; their next logits, `(B, K, V)`.

        The logits lie in a buffer that the next call overwrites.
        """
        num_streams = self.shape.num_streams
        size = len(tokens_BK)
        here = slice(self._next_slot, self._next_slot + num_streams)
        assert here.stop <= self.shape.num_slots
        self._token_ids[0, : tokens_BK.numel()] = tokens_BK.reshape(-1)
        torch.arange(here.start, here.stop, out=self._slots_K)
        # Of the slots of this step a stream reads its own.
        self._bias_BKS[:size, :, here] = self._own_KK
        if self._replay is None:
            self._replay = self._prepared()
        self._replay()
        self._positions += 1
        self._next_slot = here.stop
        return self.logits.view(*self.shape[:2], -1)[:size]

    def release(self) -> None:
        """Let go of the prepared pass, which holds on to this step."""
        self._replay = None

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store one layer's keys and values `(1, Hkv, B * K, D)`; return those of all slots."""
        num_rows, num_streams, _slots = self.shape
        for buffer, new in ((self.keys[layer_idx], keys), (self.values[layer_idx], values)):
            num_heads, head_dim = new.shape[1], new.shape[3]
            per_row = new.reshape(num_heads, num_rows, num_streams, head_dim).transpose(0, 1)
            buffer.index_copy_(2, self._slots_K, per_row.to(buffer.dtype))
        return self.keys[layer_idx], self.values[layer_idx]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Length for transformers' own book-keeping; positions are always passed explicitly."""
        return self.shape.num_slots

    def attend(
        self, backend: Backend, query: Tensor, key: Tensor, value: Tensor, layer: int,
        scale: float, window: int | None, softcap: float | None, sinks_H: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """Attention of `(1, Hq, B * K, D)` over the prefix and the rows; `(1, B * K, Hq, D)`.

        It is the step's own, whatever backend made the prefill.
        """
        prefix = self.prefix[layer] if self.prefix else None
        mask = self._mask(window)
        return step_attention(query, key, value, prefix, mask, scale, softcap, sinks_H)

    def _mask(self, window: int | None) -> Tensor:
        """The additive mask `(B, K, P + S)`, made once per pass for each kind of layer."""
        if window not in self._masks:
            num_rows, num_streams, _ = self.shape
            length = self.prefix[0][0].shape[0] if self.prefix else 0
            # Every stream reads the whole prefix.
            mask = F.pad(self._bias_BKS, (length, 0))
            if window is not None:
                prefix = torch.arange(length, device=mask.device).expand(num_rows, -1)
                keys = torch.cat([prefix, self._key_positions_BS], dim=1)
                queries = self._positions.view(num_rows, num_streams)
                inside = within_window(queries[:, :, None], keys[:, None, :], window)
                mask = mask.where(inside, NEVER)
            self._masks[window] = mask
        return self._masks[window]

    def _allocate(self, layers: Layers) -> None:
        num_rows, _, num_slots = self.shape
        for keys, values in layers:
            _, _, num_heads, head_dim = keys.shape
            self.keys.append(keys.new_empty(num_rows, num_heads, num_slots, head_dim))
            self.values.append(values.new_empty(num_rows, num_heads, num_slots, head_dim))

    def _prepared(self) -> Callable[[], object]:
        """The pass in the form that every step runs."""
        model = self.model.model
        first = support.first_position(model)
        forward = compiled_forward(model) if self.compiled else model.forward

        def run() -> None:
            self._masks.clear()
            with going_on(self):
                output = forward(
                    input_ids=self._token_ids,
                    position_ids=self._positions + first if first else self._positions,
                    past_key_values=self,
                    use_cache=True,
                    packed=self,
                )
            self.logits = output.logits[0].float()

        on_cuda = self.model.device.type == "cuda"
        return captured(model, run, self.graph_pool) if on_cuda else run

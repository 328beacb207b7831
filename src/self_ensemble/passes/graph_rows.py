"""Keys and values of a batch as a graph's state: one row per question, the prefix in front of it.

    row a   | P | a a a | a . | a |      a pass appends as many places to all rows; those that a
    row b   | P | b b . | b b | b |      question has no token for are holes, which nobody reads
    row c   | P | c . . | . . | c |

B questions, R most tokens of a question, T tokens of a pass, S slots, M tokens whose logits are
wanted, Hkv key-value heads, D head dim, P prefix length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from self_ensemble.models.openvino_passes import Fed, Graph, Laid, Request
from self_ensemble.passes.cache import Layers
from self_ensemble.passes.packed_pass import PackedPass

# Tokens of one question from which the kernel for many queries pays.
FEWEST_OF_PROMPTS = 8


@dataclass(slots=True)
class GraphRows:
    """What a batch has read, kept by a request of the graph; it stands where a `RowCache` does.

    Attributes:
        graph: The compiled graph.
        num_rows: Questions in the batch, B.
        prefix: Keys and values of the prefix for each layer, `(P, Hkv, D)`; empty for no prefix.
        num_slots: Slots in use in all rows, those of the current pass included.
        stored: Nothing; attention is in the graph.
    """

    graph: Graph
    num_rows: int
    prefix: Layers = ()
    num_slots: int = 0
    stored: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _request: Request | None = None
    # Whether what was read is the state of steps; else prompts have given it out.
    _is_state: bool = False
    _num_held: int = 0
    _num_new: int = 0

    @property
    def prefix_in_rows(self) -> bool:
        """Whether the prefix stands in front of every row."""
        return True

    @property
    def num_prefix_slots(self) -> int:
        """Slots at the start of every row that hold the prefix."""
        return self.prefix[0][0].shape[0] if self.prefix else 0

    def begin(self, rows: Tensor, slots: Tensor, num_slots: int, *, flat: bool) -> None:
        """Say where the tokens of the next pass go: behind all that is kept."""
        assert not flat, "flat rows are FlexAttention's"
        first = int(slots.min())
        self.num_slots, self._num_new = num_slots, num_slots - first

    def run(
        self, packed: PackedPass, token_ids: Tensor, position_ids: Tensor, at: Sequence[int] | None
    ) -> Tensor:
        """A pass of the model; logits, float32, `(M, V)`, of all tokens for None."""
        assert packed.watch is None, "refused before: queries and keys stay in the graph"
        cpu = torch.device("cpu")
        masks = {window: packed.mask(window, cpu, torch.float32) for window in self.graph.windows}
        places = packed.rows_T * self._num_new + packed.columns_T
        laid = Laid(self._lanes(packed, places), torch.arange(self.num_rows), masks)
        wanted = torch.arange(len(places)) if at is None else torch.tensor(at, dtype=torch.long)
        back = torch.nn.functional.pad(places, (0, packed.num_padding))
        some = wanted if len(wanted) else torch.zeros(1)
        logits = self._pass(Fed(token_ids, position_ids, back, some), laid)
        self._num_held = self.num_slots
        packed.reads_rows = False
        return logits[: len(wanted)]

    def bytes_to_add(self) -> int:
        """By how much the rows grow in the current pass, at most: they are copied to grow."""
        return 2 * self.num_slots * self.num_rows * self.graph.place_bytes

    def first_row(self) -> Layers:
        """Keys and values of the first row, for each layer, `(S, Hkv, D)`."""
        assert self._request is not None, "nothing was read"
        assert not self._is_state, "of prompts alone"
        read = _stacked(self._request.read())[:, 0].transpose(1, 2)
        return list(zip(read[::2], read[1::2], strict=True))

    def _lanes(self, packed: PackedPass, places: Tensor) -> Tensor:
        """The token of each place; holes have their question's first: another's could be nan."""
        firsts = torch.zeros(self.num_rows, dtype=torch.long)
        is_first = packed.columns_T == 0
        firsts[packed.rows_T[is_first]] = is_first.nonzero()[:, 0]
        lanes = firsts[:, None].repeat(1, self._num_new)
        lanes.view(-1)[places] = torch.arange(len(places))
        return lanes

    def _pass(self, fed: Fed, laid: Laid) -> Tensor:
        """Prompts, or steps behind them."""
        first, request = self.num_slots - self._num_new, self._request
        if request is None:
            self._request = Request(self.graph)
            # The prefix is one row, which all questions go on with.
            laid = replace(laid, rows=torch.zeros(self.num_rows))
            return self._request.prompts(fed, laid, self._prefix_read())
        if not self._is_state and self.num_rows == 1 and self._num_new >= FEWEST_OF_PROMPTS:
            return request.prompts(fed, laid, _stacked(request.read())[:, :, :, :first])
        if not self._is_state or first < self._num_held:
            read = request.state() if self._is_state else request.read()
            request.remember([one[:, :, :first] for one in read])
            self._is_state = True
        return request.steps(fed, laid)

    def _prefix_read(self) -> Tensor:
        """Keys and values of the prefix, `(2N, 1, Hkv, P, D)`."""
        if not self.prefix:
            return self.graph.nothing_read(1)
        layers = torch.stack([one for layer in self.prefix for one in layer])
        return layers.transpose(1, 2)[:, None]


def _stacked(read: Sequence[Any]) -> Tensor:
    """A copy of keys and values that a request holds, `(2N, B, Hkv, S, D)`."""
    return torch.stack([torch.from_numpy(one) for one in read])

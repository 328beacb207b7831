"""Keys and values of a batch as a graph's state: one row per question, the prefix in front of it.

    row a   | P | a a a | a . | a |      a pass appends as many places to all rows; those that a
    row b   | P | b b . | b b | b |      question has no token for are holes, which nobody reads
    row c   | P | c . . | . . | c |

B questions, R most tokens of a question, T tokens of a pass, S slots, M tokens whose logits are
wanted, Hkv key-value heads, D head dim, P prefix length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.models.openvino_passes import Fed, Graph, Request
from self_ensemble.passes.cache import Layers
from self_ensemble.passes.packed_pass import PackedPass

# Places of prompts come in multiples of it: OpenVINO makes and keeps kernels for each number.
PLACES = 8


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
    # Whether the prompts, which the first pass has brought, are where later ones read them.
    _is_kept: bool = False
    _num_prompt: int = 0
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
        num_places = self._num_new
        if self._request is None:
            num_places = -(-num_places // PLACES) * PLACES
        places = packed.rows_T * num_places + packed.columns_T
        wanted = torch.arange(len(places)) if at is None else torch.tensor(at, dtype=torch.long)
        logits = self._pass(
            Fed(
                token_ids,
                position_ids,
                self._lanes(packed, places, num_places),
                torch.nn.functional.pad(places, (0, packed.num_padding)),
                masks,
                wanted if len(wanted) else torch.zeros(1),
            )
        )
        packed.reads_rows = False
        return logits[: len(wanted)]

    def bytes_to_add(self) -> int:
        """What the current pass adds, at most: rows are copied to grow, and scores written out."""
        rows = 2 * self.num_slots * self.num_rows * self.graph.place_bytes
        pairs = self.num_rows * self._num_new * self.num_slots
        return rows + self.graph.scores_bytes(pairs)

    def first_row(self) -> Layers:
        """Keys and values of the first row, for each layer, `(S, Hkv, D)`."""
        assert self._request is not None, "nothing was read"
        layers = [one[0, :, : self.num_slots].transpose(0, 1) for one in self._request.brought()]
        return list(zip(layers[::2], layers[1::2], strict=True))

    def _lanes(self, packed: PackedPass, places: Tensor, num_places: int) -> Tensor:
        """The token of each place; holes have their question's first: another's could be nan."""
        firsts = torch.zeros(self.num_rows, dtype=torch.long)
        is_first = packed.columns_T == 0
        firsts[packed.rows_T[is_first]] = is_first.nonzero()[:, 0]
        lanes = firsts[:, None].repeat(1, num_places)
        lanes.view(-1)[places] = torch.arange(len(places))
        return lanes

    def _pass(self, fed: Fed) -> Tensor:
        """The prompts first, and then what comes behind them."""
        if self._request is None:
            prefix = [one.transpose(0, 1)[None] for layer in self.prefix for one in layer]
            self._request = Request(self.graph, prefix, self.num_rows)
            self._num_prompt = self._num_new
            return self._request.run(fed)
        request, first = self._request, self.num_slots - self._num_new
        later = first - self.num_prefix_slots - self._num_prompt
        if not self._is_kept:
            request.keep_prompt(self._num_prompt)
            self._is_kept = True
        if later < request.num_later:
            request.forget(later)
        return request.run(fed)

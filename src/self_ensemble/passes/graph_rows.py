"""Keys and values of a batch that a graph reads: one row per question, the prefix before all.

B questions, T tokens of a pass, S slots, M tokens whose logits are wanted, Hkv key-value heads, D
head dim, P prefix length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.models.openvino_passes import Fed, Graph, Request
from self_ensemble.passes.cache import Layers
from self_ensemble.passes.lengths import slot_bucket
from self_ensemble.passes.packed_pass import PackedPass

# More places come in multiples of it: OpenVINO makes and keeps kernels for each number.
PLACES = 8


@dataclass(slots=True)
class GraphRows:
    """What a batch has read, kept by a request of the graph; it stands where a `RowCache` does.

    Attributes:
        graph: The compiled graph.
        num_rows: Questions in the batch, B.
        prefix: Keys and values of the prefix for each layer, `(P, Hkv, D)`; empty for no prefix.
        slots: Slot of each token of the current pass, the prefix's included, `(T,)`.
        num_slots: Slots in use in the fullest row, those of the current pass and the prefix's
            included.
        stored: Nothing; attention is in the graph.
    """

    graph: Graph
    num_rows: int
    prefix: Layers = ()
    slots: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    num_slots: int = 0
    stored: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _num_read: int = 0
    _num_places: int = 0
    _request: Request = field(init=False)

    def __post_init__(self) -> None:
        prefix = [
            of_heads[None]
            for keys, values in self.prefix
            for of_heads in (keys.permute(1, 2, 0), values.transpose(0, 1))
        ]
        self._request = Request(self.graph, prefix, self.num_rows)

    @property
    def prefix_in_rows(self) -> bool:
        """Whether the prefix stands in front of every row, for who counts slots."""
        return True

    @property
    def num_prefix_slots(self) -> int:
        """Slots at the start of every row that hold the prefix."""
        return self.prefix[0][0].shape[0] if self.prefix else 0

    @property
    def _num_slots(self) -> int:
        return self.num_slots - self.num_prefix_slots

    def begin(self, rows: Tensor, slots: Tensor, num_slots: int, *, flat: bool) -> None:
        """Say where the tokens of the next pass go."""
        assert not flat, "flat rows are FlexAttention's"
        self.slots, self.num_slots = slots, num_slots
        self._num_read = self._request.rows.num_read(rows)
        most = int(torch.bincount(rows).max())
        self._num_places = most if most <= PLACES else -(-most // PLACES) * PLACES

    def run(
        self, packed: PackedPass, token_ids: Tensor, position_ids: Tensor, at: Sequence[int] | None
    ) -> Tensor:
        """A pass of the model; logits, float32, `(M, V)`, of all tokens for None."""
        assert packed.watch is None, "refused before: queries and keys stay in the graph"
        cpu = torch.device("cpu")
        masks = {window: packed.mask(window, cpu, torch.float32) for window in self.graph.windows}
        wanted = torch.arange(len(self.slots)) if at is None else torch.tensor(at).long()
        logits = self._request.run(
            Fed(
                token_ids,
                position_ids,
                packed.rows_T,
                packed.columns_T,
                self.slots - self.num_prefix_slots,
                self._num_places,
                slot_bucket(self._num_slots),
                masks,
                wanted if len(wanted) else torch.zeros(1),
            )
        )
        packed.reads_rows = False
        return logits[: len(wanted)]

    def bytes_to_add(self) -> int:
        """What the current pass adds: its own places, room that rows grow by, and scores."""
        return self._request.new_bytes(
            self._num_read, self._num_places, slot_bucket(self._num_slots)
        )

    def first_row(self) -> Layers:
        """Keys and values of the first row, for each layer, `(S, Hkv, D)`."""
        row = self._request.rows.of_question(0).clone()
        # They lie as a graph reads a prefix, so that no batch need copy them.
        keys = row[::2].mT.contiguous().permute(0, 3, 1, 2)
        return list(zip(keys, row[1::2].contiguous().transpose(1, 2), strict=True))

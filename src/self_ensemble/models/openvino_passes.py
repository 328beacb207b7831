"""Passes of a model that OpenVINO makes, with the keys and values of what each has read.

T tokens, B questions, F of them in front, R places of a question in a pass, P places of the
prefix, S slots behind it, C slots that there is room for, M tokens whose logits are wanted, N
layers, Hkv key-value heads, D head dim, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from self_ensemble.models.openvino_rows import Room, Rows, Spare

# Added to a score: no share, and still a number, which the kernels take.
HIDDEN = -1e30
# Values that lie there at once of each attention score, in every layer.
SCORES = 3


@dataclass(slots=True, eq=False)
class Graph:
    """A compiled graph, for any number of requests; see `models.openvino_graph`.

    Attributes:
        compiled: What OpenVINO made of the graph.
        windows: Sliding windows of the layers, each once.
        rotary: The model's rotary embedding.
        num_layers: Its layers, N.
        num_heads: Query heads, Hq.
        num_kv_heads: Key and value heads.
        head_dim: Size of a head.
        out_features: Size of the vocabulary.
        precision: OpenVINO's name of the type that it computes in.
        output_buffer: Where logits go, `(M, V)`, given M; None for memory of their own.
        most_pairs: Most pairs of a query and a key that a pass has had.
        spare: Memory of batches that have ended, for the next ones.
    """

    compiled: Any = field(repr=False)
    windows: tuple[int | None, ...]
    rotary: nn.Module = field(repr=False)
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    out_features: int
    precision: str
    output_buffer: Callable[[int], Tensor] | None = None
    most_pairs: int = 0
    spare: Spare = field(default_factory=Spare, repr=False)

    def scores_bytes(self, num_pairs: int) -> int:
        """What a pass takes beyond those before, whose memory OpenVINO keeps for each layer."""
        size = 4 if self.precision == "f32" else 2
        more = max(0, num_pairs - self.most_pairs)
        return SCORES * size * self.num_layers * self.num_heads * more

    def room(self) -> Room:
        """Room for keys and values."""
        return Room(self.spare, self.num_layers, self.num_kv_heads, self.head_dim)


@dataclass(frozen=True, slots=True)
class Fed:
    """The tokens of a pass, and how they are laid out for attention.

    Attributes:
        token_ids: T tokens, and padding behind them.
        position_ids: Position of each, and of padding.
        rows: Question of each token, those of a question side by side; for the graph, its row
            among the F that are read, `(T,)`.
        columns: Its place among its question's tokens of this pass, `(T,)`.
        slots: Its slot behind the prefix, `(T,)`; those of a question follow each other.
        num_places: Places of a question, R, as many as its tokens or more.
        room: Slots of a question that there is room for when the pass is done, C at least.
        masks: Additive mask of each window over the prefix and the slots, those of this pass
            included, float32, `(B, 1, most tokens of a question, P + S)`.
        at: Tokens whose logits are wanted, `(M,)`, one at least.
    """

    token_ids: Tensor
    position_ids: Tensor
    rows: Tensor
    columns: Tensor
    slots: Tensor
    num_places: int
    room: int
    masks: Mapping[int | None, Tensor]
    at: Tensor

    @property
    def places(self) -> Tensor:
        """Place of each token among those of all questions, `(T,)`."""
        return self.rows * self.num_places + self.columns

    def first(self, of_token: Tensor, num_rows: int) -> Tensor:
        """What each row's first token has, `(F,)`; 0 for none."""
        found = torch.zeros(num_rows, dtype=torch.long)
        is_first = self.columns == 0
        found[self.rows[is_first]] = of_token[is_first]
        return found

    def lanes(self, num_rows: int) -> Tensor:
        """Token of each place, `(F, R)`.

        Places without a token have their row's first one: another's could be nan.
        """
        numbers = torch.arange(len(self.rows))
        lanes = self.first(numbers, num_rows)[:, None].repeat(1, self.num_places)
        lanes.view(-1)[self.places] = numbers
        return lanes


class Request:
    """Passes over a batch, one after the other.

    Attributes:
        graph: The graph.
        rows: What was read of each question behind the prefix.
    """

    def __init__(self, graph: Graph, prefix: Sequence[Tensor], num_rows: int) -> None:
        """Begin a batch.

        Args:
            graph: The graph.
            prefix: Keys `(1, Hkv, D, P)` and values `(1, Hkv, P, D)` that all rows read, of each
                layer; none for no prefix.
            num_rows: Questions.
        """
        self.graph = graph
        self._request = graph.compiled.create_infer_request()
        self._num_prefix = prefix[1].shape[2] if prefix else 0
        self.rows, self._brought = Rows(graph.room(), num_rows), graph.room()
        # OpenVINO reads and writes the memory of these.
        self._given: dict[str, Tensor] = {}
        # A product over no places is none, so there is one, which is hidden.
        none = torch.zeros(2 * graph.num_layers, 1, graph.num_kv_heads, 1, graph.head_dim)
        for number, one in enumerate(prefix or shared(none)):
            self._give(f"prefix.{number}", one)
        self._give_kept()

    def new_bytes(self, num_rows: int, num_places: int, room: int) -> int:
        """What a pass takes anew that brings R places of each of F rows, with room for C slots."""
        lacking = self._brought.lacks(num_rows, num_places), self.rows.lacks(room)
        pairs = num_rows * num_places * (self._num_prefix + self.rows.num_slots + num_places)
        return self.graph.spare.new_bytes(*lacking) + self.graph.scores_bytes(pairs)

    def run(self, fed: Fed) -> Tensor:
        """One pass; logits, float32, `(M, V)`."""
        graph, rows = self.graph, self.rows
        fed = replace(fed, rows=rows.bring_forward(fed.rows))
        num_rows = rows.num_front
        given_rows, _, given_slots, _ = self._given["kept.0"].shape
        if (given_rows, given_slots) != (num_rows, rows.num_slots):
            self._give_kept()
        cos, sin = graph.rotary(torch.empty(0), fed.position_ids[None])
        sizes = (max(1, self._num_prefix), rows.num_slots, fed.num_places)
        firsts = fed.first(fed.slots, num_rows)
        counts = torch.bincount(fed.rows, minlength=num_rows)
        self._give("tokens", fed.token_ids.int())
        self._give("cos", cos[0])
        self._give("sin", sin[0])
        self._give("at", fed.at.int())
        self._give("lanes", fed.lanes(num_rows).int())
        self._give("back", pad(fed.places, (0, len(fed.token_ids) - len(fed.rows))).int())
        self._give("sizes", torch.tensor(sizes).int())
        for window, mask in fed.masks.items():
            own = mask[rows.front]
            self._give(f"mask.{window}", self._mask(own, fed.num_places, firsts, counts))
        _, laid_rows, _, laid_places, _ = self._brought.values.shape
        if (laid_rows, laid_places) != (num_rows, fed.num_places):
            for number, one in enumerate(self._brought.lay(num_rows, fed.num_places)):
                self._request.set_output_tensor(1 + number, _tensor(one))
        num_logits = len(fed.at)
        if graph.output_buffer is None:
            logits = torch.empty(num_logits, graph.out_features)
        else:
            logits = graph.output_buffer(num_logits)
        self._request.set_output_tensor(0, _tensor(logits))
        spans = firsts.tolist(), counts.tolist()
        rows.forget(*spans)
        self._request.infer()
        pairs = num_rows * fed.num_places * sum(sizes)
        graph.most_pairs = max(graph.most_pairs, pairs)
        rows.keep(self._brought.values, fed.room, *spans)
        return logits

    def _mask(self, mask: Tensor, num_places: int, firsts: Tensor, counts: Tensor) -> Tensor:
        """A mask in the graph's order of keys: the prefix, what was read before, what is read now.

        It has numbers for what is hidden. Places without a token read anything.
        """
        prefix, slots = torch.tensor_split(mask.clamp(min=HIDDEN), [self._num_prefix], dim=3)
        if not self._num_prefix:
            prefix = pad(prefix, (0, 1), value=HIDDEN)
        num_slots, capacity = slots.shape[3], self.rows.num_slots
        first, count = (one[:, None, None, None] for one in (firsts, counts))
        before = pad(slots[..., :capacity], (0, max(0, capacity - num_slots)))
        before = before.masked_fill(torch.arange(capacity) >= first, HIDDEN)
        column = torch.arange(num_places)
        of_column = (first + column).clamp(max=num_slots - 1).expand(-1, -1, mask.shape[2], -1)
        now = slots.gather(3, of_column).masked_fill(column >= count, HIDDEN)
        whole = torch.cat([prefix, before, now], dim=3)
        return pad(whole, (0, 0, 0, num_places - mask.shape[2]))

    def _give_kept(self) -> None:
        for number, one in enumerate(self.rows.values):
            self._give(f"kept.{number}", one[: self.rows.num_front])

    def _give(self, name: str, one: Tensor) -> None:
        self._given[name] = one.contiguous()
        self._request.set_tensor(name, _tensor(self._given[name]))


def shared(layers: Tensor) -> list[Tensor]:
    """Keys and values of one row, `(2N, 1, Hkv, P, D)`, as `Request` takes a prefix."""
    return [layer if number % 2 else layer.mT for number, layer in enumerate(layers)]


def _tensor(one: Tensor) -> Any:
    import openvino as ov

    return ov.Tensor(one.numpy(), shared_memory=True)

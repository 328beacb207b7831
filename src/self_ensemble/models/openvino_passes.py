"""Passes of a model that OpenVINO makes, with the keys and values of what each has read.

T tokens, B questions, R places of a question in a pass, P places of the prefix, S slots behind it,
C slots that there is room for, M tokens whose logits are wanted, N layers, Hkv key-value heads, D
head dim, V vocabulary.
"""

import math
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

# Added to a score: no share, and still a number, which the kernels take.
HIDDEN = -1e30
# Pieces of memory that are kept: of prompts as they come, of a batch before and after it grows.
# Those of fewer values take no time to make.
NUM_SPARE, FEWEST = 3, 1 << 18
# Values that lie there at once of each attention score, in every layer.
SCORES = 3


@dataclass(slots=True)
class Spare:
    """Memory that is handed on: the system maps what is new page by page, as it is written.

    Threads may share it: what they do to the pieces is one step each.
    """

    _pieces: deque[Tensor] = field(default_factory=lambda: deque(maxlen=NUM_SPARE))

    def take(self, *shape: int) -> Tensor:
        """A tensor with anything in it."""
        size = math.prod(shape)
        for _ in range(NUM_SPARE if size >= FEWEST else 0):
            try:
                piece = self._pieces.popleft()
            except IndexError:
                break
            # What is much larger is better kept for who needs it.
            if size <= len(piece) <= 4 * size:
                return piece[:size].view(shape)
            self._pieces.append(piece)
        if all(len(one) < size for one in list(self._pieces)):
            # What is asked for does not get smaller, so these only take memory.
            self._pieces.clear()
        return torch.empty(shape)

    @property
    def num_bytes(self) -> int:
        """What lies here, which the next ones need not take anew."""
        return sum(one.nbytes for one in list(self._pieces))

    def give_back(self, tensors: Sequence[Tensor]) -> None:
        """Take tensors back that nobody reads any more; the last ones are kept."""
        self._pieces.extend(
            torch.empty(0).set_(one.untyped_storage()) for one in tensors if one.numel() >= FEWEST
        )


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

    @property
    def place_bytes(self) -> int:
        """What keys and values of a place take in all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * torch.float32.itemsize

    def places(self, num_rows: int, num_places: int) -> Tensor:
        """Memory for keys and values of so many places, `(2N, B, Hkv, places, D)`."""
        return self.spare.take(
            2 * self.num_layers, num_rows, self.num_kv_heads, num_places, self.head_dim
        )


@dataclass(frozen=True, slots=True)
class Fed:
    """The tokens of a pass, and how they are laid out for attention.

    Attributes:
        token_ids: T tokens, and padding behind them.
        position_ids: Position of each, and of padding.
        rows: Question of each token, ascending, `(T,)`.
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
        """What each question's first token has, `(B,)`; 0 for none."""
        found = torch.zeros(num_rows, dtype=torch.long)
        is_first = self.columns == 0
        found[self.rows[is_first]] = of_token[is_first]
        return found

    def lanes(self, num_rows: int) -> Tensor:
        """Token of each place, `(B, R)`.

        Places without a token have their question's first one: another's could be nan.
        """
        numbers = torch.arange(len(self.rows))
        lanes = self.first(numbers, num_rows)[:, None].repeat(1, self.num_places)
        lanes.view(-1)[self.places] = numbers
        return lanes


class Request:
    """Passes over a batch, one after the other.

    Attributes:
        graph: The graph.
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
        self._num_rows = num_rows
        # Where the slots of each row end that have something in them.
        self._ends = [0] * num_rows
        self._num_prefix = prefix[1].shape[2] if prefix else 0
        # What was read before, and what a pass brings; who comes next gets the memory.
        self._memory = [graph.places(num_rows, 1).zero_(), graph.places(num_rows, 0)]
        weakref.finalize(self, graph.spare.give_back, self._memory).atexit = False
        # OpenVINO reads and writes the memory of these.
        self._given: dict[str, Tensor] = {}
        # A product over no places is none, so there is one, which is hidden.
        for number, one in enumerate(prefix or shared(graph.places(1, 1).zero_())):
            self._give(f"prefix.{number}", one)
        self._give_kept()

    @property
    def kept(self) -> Tensor:
        """Keys and values of what was read behind the prefix, `(2N, B, Hkv, C, D)`."""
        return self._memory[0]

    @property
    def num_places(self) -> int:
        """Places of a question in the last pass, R."""
        return int(self._memory[1].shape[3])

    @property
    def num_kept(self) -> int:
        """Slots behind the prefix that there is room for, C."""
        return int(self.kept.shape[3])

    def run(self, fed: Fed) -> Tensor:
        """One pass; logits, float32, `(M, V)`."""
        graph = self.graph
        cos, sin = graph.rotary(torch.empty(0), fed.position_ids[None])
        sizes = (max(1, self._num_prefix), self.num_kept, fed.num_places)
        firsts = fed.first(fed.slots, self._num_rows)
        counts = torch.bincount(fed.rows, minlength=self._num_rows)
        self._give("tokens", fed.token_ids.int())
        self._give("cos", cos[0])
        self._give("sin", sin[0])
        self._give("at", fed.at.int())
        self._give("lanes", fed.lanes(self._num_rows).int())
        self._give("back", pad(fed.places, (0, len(fed.token_ids) - len(fed.rows))).int())
        self._give("sizes", torch.tensor(sizes).int())
        for window, mask in fed.masks.items():
            self._give(f"mask.{window}", self._mask(mask, fed.num_places, firsts, counts))
        if self.num_places != fed.num_places:
            graph.spare.give_back([self._memory[1]])
            self._memory[1] = graph.places(self._num_rows, fed.num_places)
            for number, one in enumerate(self._memory[1]):
                self._request.set_output_tensor(1 + number, _tensor(one))
        num_logits = len(fed.at)
        if graph.output_buffer is None:
            logits = torch.empty(num_logits, graph.out_features)
        else:
            logits = graph.output_buffer(num_logits)
        self._request.set_output_tensor(0, _tensor(logits))
        self._forget(firsts.tolist(), counts.tolist())
        self._request.infer()
        pairs = self._num_rows * fed.num_places * sum(sizes)
        graph.most_pairs = max(graph.most_pairs, pairs)
        self._keep(fed.room, firsts.tolist(), counts.tolist())
        return logits

    def _forget(self, firsts: Sequence[int], counts: Sequence[int]) -> None:
        """Empty the slots of rows that have gone back: what is hidden must not be nan."""
        for row, (first, count) in enumerate(zip(firsts, counts, strict=True)):
            if count and first < self._ends[row]:
                self.kept[:, row, :, first : self._ends[row]] = 0.0

    def _keep(self, room: int, firsts: Sequence[int], counts: Sequence[int]) -> None:
        """Put what the pass has brought where later ones read it."""
        old, brought = self._memory
        if room > self.num_kept:
            self._memory[0] = self.graph.places(self._num_rows, room)
            self._give_kept()
        # Row by row these are few large copies, which indexing would do value by value.
        for row, (slot, count) in enumerate(zip(firsts, counts, strict=True)):
            first = slot if count else self._ends[row]
            end = first + count
            if self.kept is not old:
                self.kept[:, row, :, :first] = old[:, row, :, :first]
                self.kept[:, row, :, end:] = 0.0
            self.kept[:, row, :, first:end] = brought[:, row, :, :count]
            self._ends[row] = end
        if self.kept is not old:
            self.graph.spare.give_back([old])

    def _mask(self, mask: Tensor, num_places: int, firsts: Tensor, counts: Tensor) -> Tensor:
        """A mask in the graph's order of keys: the prefix, what was read before, what is read now.

        It has numbers for what is hidden. Places without a token read anything.
        """
        prefix, slots = torch.tensor_split(mask.clamp(min=HIDDEN), [self._num_prefix], dim=3)
        if not self._num_prefix:
            prefix = pad(prefix, (0, 1), value=HIDDEN)
        num_slots, capacity = slots.shape[3], self.num_kept
        first, count = (one[:, None, None, None] for one in (firsts, counts))
        before = pad(slots[..., :capacity], (0, max(0, capacity - num_slots)))
        before = before.masked_fill(torch.arange(capacity) >= first, HIDDEN)
        column = torch.arange(num_places)
        of_column = (first + column).clamp(max=num_slots - 1).expand(-1, -1, mask.shape[2], -1)
        now = slots.gather(3, of_column).masked_fill(column >= count, HIDDEN)
        whole = torch.cat([prefix, before, now], dim=3)
        return pad(whole, (0, 0, 0, num_places - mask.shape[2]))

    def _give_kept(self) -> None:
        for number, one in enumerate(self.kept):
            self._give(f"kept.{number}", one)

    def _give(self, name: str, one: Tensor) -> None:
        self._given[name] = one.contiguous()
        self._request.set_tensor(name, _tensor(self._given[name]))


def shared(layers: Tensor) -> list[Tensor]:
    """Keys and values of one row, `(2N, 1, Hkv, P, D)`, as `Request` takes a prefix."""
    return [layer if number % 2 else layer.mT for number, layer in enumerate(layers)]


def _tensor(one: Tensor) -> Any:
    import openvino as ov

    return ov.Tensor(one.numpy(), shared_memory=True)

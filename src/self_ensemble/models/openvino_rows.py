"""Keys and values of what the questions of a batch have read, as an OpenVINO graph takes them.

    places   0         1         2         3
           | c c c - | d d - - | b b b - | a a - - |     one row a question; - is a free slot
           '- those that go on: what passes read -'

Questions end, and what has been read of them need not be read again: rows that go on stand in
front, where they lie together, with a few that have just ended. The others stay behind them, for
who comes back to them.

B questions, C slots that there is room for, N layers, Hkv key-value heads, D head dim, T tokens.
"""

import math
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

# Pieces of memory that are kept: of two batches, what was read and what a pass brings. Those of
# fewer values take no time to make.
NUM_SPARE, FEWEST = 4, 1 << 22
# Rows in front of which no more go on than this share: the others are put behind.
FEW = 0.75


@dataclass(slots=True)
class Spare:
    """Memory that is handed on: the system maps what is new page by page, as it is written.

    Threads may share it. Pieces come back while garbage is collected, which may be while the same
    thread takes one, so that takes no lock.
    """

    _pieces: list[Tensor] = field(default_factory=list)
    _returned: deque[Tensor] = field(default_factory=lambda: deque(maxlen=NUM_SPARE))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, size: int) -> Tensor:
        """So many values or more, with anything in them."""
        if size >= FEWEST:
            with self._lock:
                self._take_in()
                found = _smallest_that_fits(size, [len(one) for one in self._pieces])
                if found is not None:
                    return self._pieces.pop(found)
                if all(len(one) < size for one in self._pieces):
                    # Batches seldom get smaller, so these would only take memory.
                    self._pieces.clear()
        return torch.empty(size)

    def new_bytes(self, *sizes: int) -> int:
        """What pieces of so many values take that are not lying here."""
        with self._lock:
            self._take_in()
            pieces = [len(one) for one in self._pieces]
        new = 0
        for size in sizes:
            found = _smallest_that_fits(size, pieces)
            if size < FEWEST or found is None:
                new += size
            else:
                pieces.pop(found)
        return new * torch.float32.itemsize

    def give_back(self, pieces: Sequence[Tensor]) -> None:
        """Take pieces back that nobody reads any more; the last ones are kept."""
        self._returned.extend(one for one in pieces if len(one) >= FEWEST)

    def _take_in(self) -> None:
        while self._returned:
            self._pieces.append(self._returned.popleft())
        del self._pieces[:-NUM_SPARE]


def _smallest_that_fits(size: int, pieces: Sequence[int]) -> int | None:
    # What is much larger is better kept for who needs it.
    fits = [number for number, one in enumerate(pieces) if size <= one <= 4 * size]
    return min(fits, key=lambda number: pieces[number], default=None)


class Room:
    """Room for keys and values in a piece of memory, `(2N, rows, Hkv, slots, D)`.

    Attributes:
        values: The part of the piece that is in use.
    """

    def __init__(self, spare: Spare, num_layers: int, num_kv_heads: int, head_dim: int) -> None:
        self._spare = spare
        self._shape = 2 * num_layers, num_kv_heads, head_dim
        self._piece = [torch.empty(0)]
        self.values = self._view(0, 0)
        weakref.finalize(self, spare.give_back, self._piece).atexit = False

    def _size(self, num_rows: int, num_slots: int) -> int:
        return math.prod(self._shape) * num_rows * num_slots

    def _view(self, num_rows: int, num_slots: int) -> Tensor:
        layers, heads, size = self._shape
        part = self._piece[0][: self._size(num_rows, num_slots)]
        return part.view(layers, num_rows, heads, num_slots, size)

    def lacks(self, num_rows: int, num_slots: int) -> int:
        """Values of the piece that so much room takes; 0 if it is there."""
        size = self._size(num_rows, num_slots)
        return size if size > len(self._piece[0]) else 0

    def lay(self, num_rows: int, num_slots: int) -> Tensor:
        """Make room with anything in it."""
        size = self._size(num_rows, num_slots)
        if size > len(self._piece[0]):
            last, self._piece[0] = self._piece[0], torch.empty(0)
            self._spare.give_back([last])
            self._piece[0] = self._spare.take(size)
        self.values = self._view(num_rows, num_slots)
        return self.values

    def widen(self, num_slots: int) -> None:
        """Have more slots, with nothing in them."""
        old, num_rows = self.values, self.values.shape[1]
        size = self._size(num_rows, num_slots)
        last, in_place = self._piece[0], size <= len(self._piece[0])
        if not in_place:
            self._piece[0] = self._spare.take(size)
        self.values = self._view(num_rows, num_slots)
        # From the last layer on: in the same memory none is written over before it is moved.
        for before, after in reversed(list(zip(old, self.values, strict=True))):
            after[:, :, : old.shape[3]] = before.clone() if in_place else before
            after[:, :, old.shape[3] :] = 0.0
        if not in_place:
            self._spare.give_back([last])


class Rows:
    """Keys and values of a batch's questions, `(2N, B, Hkv, C, D)`, those that go on in front.

    Attributes:
        num_front: Rows in front, that passes read.
    """

    def __init__(self, room: Room, num_rows: int) -> None:
        """Begin with nothing read.

        Args:
            room: Where it will lie.
            num_rows: Questions, B.
        """
        self._room = room
        room.lay(num_rows, 1).zero_()
        self.num_front = num_rows
        # The question at each place, the place of each question, and where its slots end that
        # have something in them.
        self._questions = list(range(num_rows))
        self._place_of = list(range(num_rows))
        self._ends = [0] * num_rows

    @property
    def values(self) -> Tensor:
        """All rows, `(2N, B, Hkv, C, D)`."""
        return self._room.values

    @property
    def num_slots(self) -> int:
        """Slots that there is room for, C."""
        return int(self.values.shape[3])

    @property
    def front(self) -> list[int]:
        """The questions in front, in their order."""
        return self._questions[: self.num_front]

    def lacks(self, num_slots: int) -> int:
        """Values of the piece of memory that so many slots take; 0 if they are there."""
        return self._room.lacks(len(self._questions), num_slots)

    def of_question(self, question: int) -> Tensor:
        """What has been read of a question, `(2N, Hkv, slots, D)`."""
        return self.values[:, self._place_of[question], :, : self._ends[question]]

    def bring_forward(self, questions: Tensor) -> Tensor:
        """Have the questions of the next pass in front; the place of each, `(T,)`.

        Args:
            questions: Question of each token, `(T,)`.
        """
        self.num_front = self.num_read(questions)
        live = set(questions.tolist())
        late = sorted(one for one in live if self._place_of[one] >= self.num_front)
        free = [place for place, one in enumerate(self.front) if one not in live]
        # There are more free places only where the front stays as it is, and nobody is late.
        for place, one in zip(free, late, strict=False):
            self._exchange(place, self._place_of[one])
        return torch.tensor(self._place_of)[questions]

    def num_read(self, questions: Tensor) -> int:
        """How many rows a pass with tokens of these questions will read."""
        live = set(questions.tolist())
        in_front = max(self._place_of[one] for one in live) < self.num_front
        stays = in_front and len(live) > FEW * self.num_front
        return self.num_front if stays else len(live)

    def _exchange(self, place: int, other: int) -> None:
        questions = self._questions[place], self._questions[other]
        end = max(self._ends[one] for one in questions)
        # Layer by layer: of all at once a copy would be as large as a row.
        for layer in self.values:
            here, there = layer[place, :, :end], layer[other, :, :end]
            saved = here.clone()
            here.copy_(there)
            there.copy_(saved)
        self._questions[other], self._questions[place] = questions
        self._place_of[questions[0]], self._place_of[questions[1]] = other, place

    def forget(self, firsts: Sequence[int], counts: Sequence[int]) -> None:
        """Empty the slots of rows that have gone back: what is hidden must not be nan.

        Args:
            firsts: First slot of what a pass brings of each question in front.
            counts: How many.
        """
        for place, (first, count) in enumerate(zip(firsts, counts, strict=True)):
            end = self._ends[self._questions[place]]
            if count and first < end:
                self.values[:, place, :, first:end] = 0.0

    def keep(
        self, brought: Tensor, num_slots: int, firsts: Sequence[int], counts: Sequence[int]
    ) -> None:
        """Put what a pass has brought where later ones read it.

        Args:
            brought: Keys and values, `(2N, num_front, Hkv, R, D)`.
            num_slots: Slots that there must be room for.
            firsts: First slot of what it brings of each question in front.
            counts: How many.
        """
        if num_slots > self.num_slots:
            self._room.widen(num_slots)
        # Row by row these are few large copies, which indexing would do value by value.
        for place, (first, count) in enumerate(zip(firsts, counts, strict=True)):
            if count:
                end = first + count
                self.values[:, place, :, first:end] = brought[:, place, :, :count]
                self._ends[self._questions[place]] = end

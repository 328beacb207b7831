"""Batches that no worker has, and what becomes of one over which workers have died."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from self_ensemble.questions.schema import Question

# A batch over which so many workers have died is split; what is split off is one death from it.
KILLS = 2


@dataclass(slots=True)
class Batch:
    """Questions that go to a worker together.

    Attributes:
        questions: One or more.
        num_kills: How many workers have died over them, or over what they were split from.
        given_up: Why its one question is not asked any more; None while it is.
    """

    questions: tuple[Question, ...]
    num_kills: int = 0
    given_up: str | None = None


@dataclass(slots=True)
class BatchQueue:
    """Questions that no worker has; what came back goes first."""

    todo: Sequence[Question]
    batch_size: int
    _next: int = 0
    _back: deque[Batch] = field(default_factory=deque)

    @property
    def empty(self) -> bool:
        """Whether workers have it all."""
        return not self._back and self._next >= len(self.todo)

    def take(self) -> Batch | None:
        """The next batch, of the present size at most."""
        if self._back:
            batch = self._back.popleft()
            rest = batch.questions[self.batch_size :]
            if rest:
                self._back.appendleft(replace(batch, questions=rest))
            return replace(batch, questions=batch.questions[: self.batch_size])
        questions = tuple(self.todo[self._next : self._next + self.batch_size])
        self._next += len(questions)
        return Batch(questions) if questions else None

    def put_back(self, batches: Sequence[Batch]) -> None:
        """Have batches done before the others, in this order."""
        self._back.extendleft(reversed(batches))


def after_death(batch: Batch, reason: str) -> list[Batch]:
    """What becomes of a batch over which a worker has died."""
    if batch.given_up is not None:
        return [batch]
    num_kills = batch.num_kills + 1
    if num_kills < KILLS:
        return [replace(batch, num_kills=num_kills)]
    if len(batch.questions) == 1:
        return [replace(batch, given_up=f"The question killed its worker, alone: {reason}")]
    half = -(-len(batch.questions) // 2)
    parts = (batch.questions[:half], batch.questions[half:])
    return [replace(batch, questions=part, num_kills=KILLS - 1) for part in parts]

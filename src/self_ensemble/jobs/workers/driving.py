"""The driver's loop: it hands batches to whoever is free, and alone puts rows on disk.

Imports Ray; imported once workers are asked for.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from self_ensemble.errors import Stopped, UserError
from self_ensemble.jobs.recipe import Task
from self_ensemble.jobs.workers.actor import Made, Ready, Refused, TooLarge
from self_ensemble.jobs.workers.batch_queue import Batch, BatchQueue, after_death
from self_ensemble.jobs.workers.pool import Died, Landed, Pool
from self_ensemble.jobs.workers.travel import pack_questions, unpack_rows
from self_ensemble.results.interrupt import finish_batch_on_signal
from self_ensemble.running.batches import BatchProgress, Outcome
from self_ensemble.running.making import BatchRows


@dataclass(slots=True)
class Drive:
    """Some questions on their way through workers.

    Attributes:
        pool: The workers.
        task: What is made of the questions.
        queue: The questions that no worker has.
        accept: Refuses a worker that was started later and differs.
        on_batch: Is told of every batch that is on disk.
        on_shrink: Is told of batches that are made smaller.
    """

    pool: Pool
    task: Task
    queue: BatchQueue
    accept: Callable[[Ready], None]
    on_batch: Callable[[BatchProgress], None]
    on_shrink: Callable[[int, int], None]
    _num_answered: int = field(default=0, init=False)
    # Why no more is handed out; what others are working on is waited for and kept.
    _refusal: UserError | None = field(default=None, init=False)
    _full: bool = field(default=False, init=False)

    def run(self) -> Outcome:
        """Go on until the questions are done.

        Raises:
            Stopped: By a signal; what workers were working on is on disk.
            UserError: The run cannot go on; so is what the other workers were working on.
        """
        started = time.perf_counter()
        with finish_batch_on_signal() as interruption:
            while True:
                ending = self._refusal is not None or interruption.received is not None
                if ending:
                    self.pool.drop_waiting()
                else:
                    self._hand_out()
                # With all workers being replaced none has a batch, and there may be one left.
                if not self.pool.busy and (ending or self.queue.empty):
                    break
                if not self._take_in():
                    break
            if interruption.received is not None:
                raise Stopped(interruption.exit_code)
            if self._refusal is not None:
                raise self._refusal
        return Outcome(self._num_answered, time.perf_counter() - started)

    def _hand_out(self) -> None:
        for member in self.pool.free():
            batch = self.queue.take()
            if batch is None:
                return
            packed = pack_questions(batch.questions, self.task.order.of(batch.questions))
            if batch.given_up is None:
                self.pool.submit(member, batch, member.actor.make, packed)
            else:
                self.pool.submit(member, batch, member.actor.give_up, packed, batch.given_up)

    def _take_in(self) -> bool:
        """Take what has landed; False if nothing lands any more."""
        made: list[BatchRows] = []
        try:
            for landed in self.pool.landed():
                self._look_at(landed, made)
        except UserError as error:
            self._refusal = self._refusal or error
            return False
        finally:
            if made and not self._full:
                self._put(made)
        return True

    def _look_at(self, landed: Landed, made: list[BatchRows]) -> None:
        member, batch, result = landed
        try:
            match result:
                case Made(packed):
                    rows, member.counters = unpack_rows(packed)
                    made.append(rows)
                case Ready():
                    self.accept(result)
                case Refused(line, code):
                    raise UserError(line, code)
                case Died(reason, waiting):
                    first = [] if batch is None else after_death(batch, reason)
                    self.queue.put_back([*first, *waiting])
                case TooLarge():
                    assert batch is not None
                    self._shrink(batch)
                case _:
                    raise AssertionError(result)
        except UserError as refusal:
            self._refusal = self._refusal or refusal

    def _put(self, made: Sequence[BatchRows]) -> None:
        """Put rows on disk, of all batches together: a file costs more than what is in it."""
        try:
            self.task.put(made)
        except UserError as refusal:
            # What takes the rows has ended the run; it is given no more.
            self._full = True
            self._refusal = self._refusal or refusal
            return
        for rows in made:
            done = rows.progress
            self._num_answered += done.num_questions - done.num_errors
            self.on_batch(done._replace(num_workers=self.pool.num_loaded))

    def _shrink(self, batch: Batch) -> None:
        size = len(batch.questions)
        if self.task.batch_size is not None or size == 1:
            raise UserError(
                f"{size} questions at once do not fit into memory. What is done is kept; use a "
                "smaller --batch-size.",
                "SE-0406",
            )
        smaller = -(-size // 2)
        if smaller < self.queue.batch_size:
            self.queue.batch_size = smaller
            self.on_shrink(size, smaller)
        self.queue.put_back([batch])


def first_ready(pool: Pool) -> Ready:
    """What the first worker says that has loaded its model.

    Raises:
        UserError: It refuses, or none is left.
    """
    while True:
        for landed in pool.landed():
            match landed.result:
                case Ready():
                    return landed.result
                case Refused(line, code):
                    raise UserError(line, code)

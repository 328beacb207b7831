"""The driver's loop: it hands batches to whoever is free, and alone puts rows on disk.

Imports Ray; imported once workers are asked for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from self_ensemble.errors import Stopped, UserError
from self_ensemble.jobs.recipe import Task
from self_ensemble.jobs.workers.actor import Made, Ready, Refused, TooLarge
from self_ensemble.jobs.workers.batch_queue import Batch, BatchQueue, after_death
from self_ensemble.jobs.workers.pool import Died, Landed, Pool
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
                try:
                    landed = self.pool.landed()
                except UserError as error:
                    self._refusal = self._refusal or error
                    break
                if landed is not None:
                    self._take_in(landed)
            if interruption.received is not None:
                raise Stopped(interruption.exit_code)
            if self._refusal is not None:
                raise self._refusal
        return Outcome(self._num_answered, time.perf_counter() - started)

    def _hand_out(self) -> None:
        while (member := self.pool.free()) is not None:
            batch = self.queue.take()
            if batch is None:
                return
            order = self.task.order.of(batch.questions)
            if batch.given_up is None:
                call = member.actor.make.remote(batch.questions, order)
            else:
                call = member.actor.give_up.remote(batch.questions[0], batch.given_up, order)
            self.pool.submit(member, batch, call)

    def _take_in(self, landed: Landed) -> None:
        member, batch, result = landed
        try:
            match result:
                case Made() if self._full:
                    pass
                case Made():
                    self._put(result.rows)
                    member.counters = dict(result.counters)
                    done = result.rows.progress
                    self._num_answered += done.num_questions - done.num_errors
                    self.on_batch(done._replace(num_workers=self.pool.num_loaded))
                case Ready():
                    self.accept(result)
                case Refused(line):
                    raise UserError(line)
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

    def _put(self, rows: BatchRows) -> None:
        try:
            self.task.put(rows)
        except UserError:
            # What takes the rows has ended the run; it is given no more.
            self._full = True
            raise

    def _shrink(self, batch: Batch) -> None:
        size = len(batch.questions)
        if self.task.batch_size is not None or size == 1:
            raise UserError(
                f"{size} questions at once do not fit into memory. What is done is kept; use a "
                "smaller --batch-size."
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
        landed = pool.landed()
        if landed is None:
            continue
        match landed.result:
            case Ready():
                return landed.result
            case Refused(line):
                raise UserError(line)

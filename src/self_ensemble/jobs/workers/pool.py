"""Workers, and their calls on the way: who is free, what has come back, who has died.

Imports Ray; imported once workers are asked for.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from self_ensemble.errors import UserError, first_line
from self_ensemble.jobs.workers.batch_queue import Batch

# One that is worked on, and one that waits, so that a worker never waits for the driver.
MOST_IN_FLIGHT = 2
# How long a signal may go unnoticed.
POLL_S = 0.25
# The last one: Ray's own monitor kills a worker before the machine is out of memory.
DEATHS = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)
# After so long it is told that workers have not started; those that have may load for longer.
WAIT_S = 60.0


@dataclass(slots=True)
class Member:
    """A worker with its calls in the order in which it works on them.

    Attributes:
        actor: Its handle.
        calls: What each call will give, and its batch; None while the model is loaded.
        since: When it began with the first of them.
        counters: What has gone through its model.
        placed: A call that ends once its process runs.
    """

    actor: Any
    placed: Any
    calls: deque[tuple[Any, Batch | None]] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)
    counters: dict[str, int] = field(default_factory=dict)


class Died(NamedTuple):
    """A worker is gone, and what it had is to be done by others.

    Attributes:
        reason: What has become of it.
        waiting: Batches that it had not begun.
    """

    reason: str
    waiting: list[Batch]


class Landed(NamedTuple):
    """The end of a worker's oldest call; without a batch it was the loading of the model."""

    member: Member
    batch: Batch | None
    result: object


class Pool:
    """Workers that are replaced when they die, so many times in all."""

    def __init__(
        self,
        start: Callable[[], Any],
        num_workers: int,
        *,
        max_restarts: int,
        batch_timeout: float | None,
        look: Callable[[], None],
        on_wait: Callable[[int], None],
    ) -> None:
        """Start workers and let them load.

        Args:
            start: Makes an actor, which has a method `load`.
            num_workers: How many.
            max_restarts: How many that died are replaced.
            batch_timeout: Seconds after which a worker with a batch counts as dead.
            look: Raises a UserError once Ray has ended.
            on_wait: Is told how many workers have not started for long, once.
        """
        self._start = start
        self._restarts_left = max_restarts
        self._batch_timeout = batch_timeout
        self._look = look
        self._on_wait = on_wait
        self._told_of_waiting = False
        self._ending = False
        self.members: list[Member] = []
        self.counters_of_dead: list[dict[str, int]] = []
        for _ in range(num_workers):
            self._add()

    @property
    def busy(self) -> bool:
        """Whether a batch is on its way."""
        return any(batch is not None for member in self.members for _, batch in member.calls)

    @property
    def num_loaded(self) -> int:
        """How many workers have a model."""
        return sum(not _is_loading(member) for member in self.members)

    def free(self) -> list[Member]:
        """Who can take a batch, those with the least to do first; twice where it can take two."""
        loaded = [member for member in self.members if not _is_loading(member)]
        return [
            member
            for num_calls in range(MOST_IN_FLIGHT)
            for member in loaded
            if len(member.calls) <= num_calls
        ]

    def submit(self, member: Member, batch: Batch, method: Any, *arguments: object) -> None:
        """Call a method of a worker.

        Raises:
            UserError: No Ray.
        """
        try:
            call = method.remote(*arguments)
        except (RayError, OSError) as error:
            raise _given_up(error) from error
        if not member.calls:
            member.since = time.monotonic()
        member.calls.append((call, batch))

    def drop_waiting(self) -> None:
        """Wait no longer for what nobody has begun with, and start no more workers."""
        self._ending = True
        for member in self.members:
            while len(member.calls) > 1:
                member.calls.pop()

    def landed(self) -> Iterator[Landed]:
        """What has come of calls; waits a moment where nothing has.

        Raises:
            UserError: No worker is left, or no Ray.
        """
        self._look()
        by_call = {member.calls[0][0]: member for member in self.members if member.calls}
        assert by_call, "nothing is on its way"
        try:
            landed, others = ray.wait(list(by_call), num_returns=1, timeout=POLL_S)
            if landed and others:
                landed += ray.wait(others, num_returns=len(others), timeout=0)[0]
        except (RayError, OSError) as error:
            raise _given_up(error) from error
        for call in landed:
            yield self._come_of(call, by_call[call])
        self._tell_of_waiting()
        yield from self._overdue()

    def _come_of(self, call: Any, member: Member) -> Landed:
        # Without a node, and its store, the next line may end this process.
        self._look()
        try:
            result = ray.get(call)
        except DEATHS as error:
            return self._bury(member, first_line(error))
        except RayTaskError:
            raise
        except (RayError, OSError) as error:
            raise _given_up(error) from error
        _, batch = member.calls.popleft()
        member.since = time.monotonic()
        return Landed(member, batch, result)

    def close(self) -> None:
        """End all workers."""
        for member in self.members:
            ray.kill(member.actor, no_restart=True)

    def _add(self) -> None:
        actor = self._start()
        calls: deque[tuple[Any, Batch | None]] = deque([(actor.load.remote(), None)])
        self.members.append(Member(actor, actor.__ray_ready__.remote(), calls))

    def _tell_of_waiting(self) -> None:
        """A cluster may have no place for a worker, now or ever, and nothing else tells of it."""
        latest = time.monotonic() - WAIT_S
        late = [one.placed for one in self.members if _is_loading(one) and one.since < latest]
        if not late or self._told_of_waiting:
            return
        _, waiting = ray.wait(late, num_returns=len(late), timeout=0)
        if waiting:
            self._told_of_waiting = True
            self._on_wait(len(waiting))

    def _overdue(self) -> Iterator[Landed]:
        if self._batch_timeout is None:
            return
        latest = time.monotonic() - self._batch_timeout
        for member in tuple(self.members):
            if member.calls and member.calls[0][1] is not None and member.since < latest:
                yield self._bury(member, f"It took more than {self._batch_timeout:g} s.")

    def _bury(self, member: Member, reason: str) -> Landed:
        # It may be out of reach and not dead.
        ray.kill(member.actor, no_restart=True)
        self.members.remove(member)
        self.counters_of_dead.append(member.counters)
        (_, batch), *rest = member.calls
        if self._ending:
            pass
        elif self._restarts_left:
            self._restarts_left -= 1
            self._add()
        elif not self.members:
            doing = "loading the model" if batch is None else "answering"
            raise UserError(
                f"No worker is left, and none is started any more: the last one died while "
                f"{doing} ({reason}) What was done before is kept; run the same command again to "
                "go on, or give more --max-worker-restarts.",
                "SE-0805",
            )
        return Landed(member, batch, Died(reason, [lost for _, lost in rest if lost is not None]))


def _is_loading(member: Member) -> bool:
    return bool(member.calls) and member.calls[0][1] is None


def _given_up(error: Exception) -> UserError:
    return UserError(
        f"Ray gives up ({first_line(error)}). What was done is kept; run the same command again "
        "to go on.",
        "SE-0805",
    )

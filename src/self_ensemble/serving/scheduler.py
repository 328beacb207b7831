"""One thread, one stream: requests join what is being answered, and leave it.

    clients (event loop)      waiting        stream (one thread)
    submit  ------------->  [ A  B  C ]  --> join, step, step, step ...
    steps   <--------------------------------- told, as they come
    cancel  --------------> a flag, looked at before every step

A request waits for the step that is going on and for its own prompt to be encoded, never for an
answer to end, as long as fewer than `max_live` are being made.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from time import monotonic

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Unanswered
from self_ensemble.asking.streaming import Step
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import is_out_of_memory
from self_ensemble.serving.errors import (
    ApiError,
    internal,
    out_of_memory,
    queue_full,
    shutting_down,
    too_long,
    unanswered,
)
from self_ensemble.serving.limits import Limits
from self_ensemble.serving.logs import log_failure, log_unanswered
from self_ensemble.serving.preparing import Work


@dataclass(slots=True, eq=False)
class Ticket:
    """A request in the scheduler's hands.

    Attributes:
        work: What is asked.
        deadline: When it is given up, by the monotonic clock.
        deadline_s: How long that is after it came.
        every_step: Whether every step is told, and not only the ends.
        is_cancelled: Whether nobody waits for it any more.
    """

    work: Work
    deadline: float
    deadline_s: float
    every_step: bool
    is_cancelled: bool = False
    _told: "asyncio.Queue[list[Step] | ApiError]" = field(default_factory=asyncio.Queue)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be made of it: a client may read nothing, and not go away."""
        return self.is_cancelled or monotonic() > self.deadline

    async def steps(self) -> AsyncGenerator[Step, None]:
        """What is told; the number of a step is that of the answer.

        Raises:
            ApiError: It has failed, or met its deadline.
        """
        left = len(self.work.requests) * len(self.work.methods)
        try:
            while left:
                try:
                    async with asyncio.timeout(self.deadline - monotonic()):
                        told = await self._told.get()
                except TimeoutError:
                    raise too_long(self.deadline_s) from None
                if isinstance(told, ApiError):
                    raise told
                for step in told:
                    if isinstance(step.outcome, Unanswered):
                        log_unanswered(step.outcome)
                        raise unanswered(step.outcome)
                    left -= step.outcome is not None
                    yield step
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Nobody waits for it any more; where it has ended this changes nothing."""
        self.is_cancelled = True

    def tell(self, told: list[Step] | ApiError) -> None:
        """From the scheduler's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told.put_nowait, told)


@dataclass(slots=True)
class Counts:
    """What has been done, for metrics."""

    steps: int = 0
    tokens: int = 0
    failures: int = 0


@dataclass(slots=True)
class _Owner:
    """Whose a number of the stream is, which of its answers, and how many methods go on."""

    ticket: Ticket
    choice: int
    num_open: int


class Scheduler:
    """Answers requests in a thread of its own."""

    def __init__(self, ensemble: Ensemble, limits: Limits) -> None:
        """Start the thread."""
        self._ensemble = ensemble
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._closing = False
        self._stream = ensemble.stream()
        self._owners: dict[int, _Owner] = {}
        self.counts = Counts()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Requests that are not begun."""
        return len(self._waiting)

    @property
    def num_live(self) -> int:
        """Answers being made."""
        return len(self._owners)

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def submit(self, ticket: Ticket) -> None:
        """Take a request in.

        Raises:
            ApiError: Too many wait, or nothing is begun any more.
        """
        with self._changed:
            if self._closing:
                raise shutting_down()
            if len(self._waiting) >= self._limits.max_waiting:
                raise queue_full()
            self._waiting.append(ticket)
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Begin nothing more, finish what is there for so long, then give it up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            left = [*self._waiting, *(owner.ticket for owner in list(self._owners.values()))]
        for ticket in left:
            ticket.cancel()
            ticket.tell(shutting_down())
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._closing or self._waiting or self._owners):
                    self._changed.wait()
                if self._closing and not self._waiting and not self._owners:
                    return
                self._leave()
                newcomers = self._next()
            self._begin(newcomers)
            if self._owners:
                self._step()

    def _leave(self) -> None:
        """Let go of requests that nobody waits for any more, or whose time is over."""
        for ticket in [ticket for ticket in self._waiting if ticket.is_over]:
            self._waiting.remove(ticket)
        for number in [n for n, owner in self._owners.items() if owner.ticket.is_over]:
            self._stream.cancel(number)
            del self._owners[number]

    def _next(self) -> list[Ticket]:
        """Those that wait and may begin, in order; of long prompts few at a time."""
        found: list[Ticket] = []
        free = self._limits.max_live - len(self._owners)
        tokens = self._limits.max_prompt_tokens
        while self._waiting:
            work = self._waiting[0].work
            free -= len(work.requests)
            tokens -= work.num_laid_out
            if free < 0 or (found and tokens < 0):
                break
            found.append(self._waiting.popleft())
        return found

    def _begin(self, tickets: list[Ticket]) -> None:
        by_methods: dict[tuple[Method, ...], list[Ticket]] = {}
        for ticket in tickets:
            by_methods.setdefault(ticket.work.methods, []).append(ticket)
        for methods, some in by_methods.items():
            requests = [one for ticket in some for one in ticket.work.requests]
            try:
                numbers = iter(self._stream.join(requests, methods))
            except Exception as error:  # noqa: BLE001 - the thread lives whatever a request does
                if len(some) == 1:
                    some[0].tell(self._refusal(error))
                    continue
                # Apart, so that one that cannot be asked fails alone.
                for ticket in some:
                    self._begin([ticket])
                continue
            for ticket in some:
                for choice in range(len(ticket.work.requests)):
                    self._owners[next(numbers)] = _Owner(ticket, choice, len(methods))

    def _step(self) -> None:
        try:
            steps = self._stream.step()
        except Exception as error:  # noqa: BLE001 - the thread lives whatever a step does
            refusal = self._refusal(error)
            for ticket in {id(o.ticket): o.ticket for o in self._owners.values()}.values():
                ticket.tell(refusal)
            self._owners.clear()
            self._stream = self._ensemble.stream()
            return
        self.counts.steps += 1
        told: dict[Ticket, list[Step]] = {}
        for step in steps:
            owner = self._owners[step.number]
            if owner.ticket.every_step or step.outcome is not None:
                told.setdefault(owner.ticket, []).append(replace(step, number=owner.choice))
            if step.outcome is not None:
                self.counts.tokens += len(step.token_ids)
                owner.num_open -= 1
                if owner.num_open == 0:
                    del self._owners[step.number]
        for ticket, some in told.items():
            ticket.tell(some)

    def _refusal(self, error: Exception) -> ApiError:
        self.counts.failures += 1
        log_failure(error)
        return out_of_memory() if is_out_of_memory(error) else internal()

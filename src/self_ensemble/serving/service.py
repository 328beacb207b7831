"""One request from its body to all that is told of it, whatever carries it to the client."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

from self_ensemble.asking.request import Answer, Outcome, Request
from self_ensemble.asking.streaming import Step
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.scoring.normalise import first_line, normalise
from self_ensemble.serving.aside import Aside
from self_ensemble.serving.errors import cannot, queue_full
from self_ensemble.serving.limits import Limits
from self_ensemble.serving.preparing import EACH, Body, Preparer, Work
from self_ensemble.serving.scheduler import Scheduler, Ticket


@dataclass(frozen=True, slots=True)
class Told:
    """What is new of an answer.

    Attributes:
        choice: Which of the request's answers.
        text: Its text so far; no later one takes anything back.
        answer: What it has come to so far, tokens and log-probabilities.
        end: The whole answer and what the wordings have done for it, at the end; else None.
    """

    choice: int
    text: str
    answer: Step
    end: "End | None" = None


@dataclass(frozen=True, slots=True)
class End:
    """A whole answer, and its ensemble."""

    answer: Answer
    ensemble: dict[str, object]


@dataclass(slots=True)
class _Choice:
    """An answer as it comes, with those of its members."""

    request: Request
    last: Step | None = None
    answer: Answer | None = None
    members: tuple[Outcome, ...] = ()
    has_members: bool = False


class Service:
    """Everything behind the routes."""

    def __init__(self, ensemble: Ensemble, limits: Limits | None = None, name: str = "") -> None:
        """Start its threads.

        Args:
            ensemble: Its methods are those that may be asked for; the first is the default. Its
                own prompt is not used.
            limits: What is refused.
            name: What clients call the model; the loaded model's name where empty.
        """
        self.limits = limits or Limits()
        self.name = name or ensemble.model.name
        self.ensemble = ensemble
        self._preparer = Preparer(ensemble, self.limits, self.name)
        self._preparing = ThreadPoolExecutor(1, "preparing")
        self.scheduler = Scheduler(ensemble, self.limits)
        self.aside = Aside(ensemble, self.limits)
        self._num_preparing = 0

    def deadline(self) -> float:
        """When a request that has come now is given up, by the monotonic clock."""
        return monotonic() + self.limits.deadline_s

    def check_model(self, model: str) -> None:
        """Refuse another model.

        Raises:
            ApiError: It is not this one.
        """
        self._preparer.check_model(model)

    async def prepare(self, body: Body, deadline: float) -> Work:
        """Make work of a body, with wordings that are made first where they are asked for.

        Raises:
            ApiError: It cannot be asked.
        """
        self.check_model(body.model)
        work = await self._prepared(body, None)
        if body.paraphrase is None:
            return work
        seed = secrets.randbits(62) if body.seed is None else body.seed
        original = self._preparer.original(body)
        made = await self.aside.wordings(original, body.paraphrase, seed, deadline)
        return await self._prepared(body, made)

    async def told(
        self, work: Work, deadline: float, *, every_step: bool
    ) -> AsyncGenerator[Told, None]:
        """Answer; leaving this iterator gives the request up.

        Raises:
            ApiError: It has failed, or met its deadline.
        """
        ticket = Ticket(work, deadline, self.limits.deadline_s, every_step)
        self.scheduler.submit(ticket)
        choices = [_Choice(request) for request in work.requests]
        steps = ticket.steps()
        try:
            async for step in steps:
                choice = choices[step.number]
                _take(choice, step, work)
                if step.method == work.method.name and step.wording is None:
                    yield Told(step.number, step.text, step)
                is_whole = choice.has_members or len(work.methods) == 1
                if is_whole and choice.answer is not None and choice.last is not None:
                    ensemble = await self._ensemble(choice, work, deadline)
                    end = End(choice.answer, ensemble)
                    yield Told(step.number, choice.answer.generation, choice.last, end)
        finally:
            await steps.aclose()

    def close(self) -> None:
        """Finish what is there, within the deadline, and end the threads."""
        self.scheduler.close(self.limits.deadline_s)
        self.aside.close()
        self._preparing.shutdown(wait=False, cancel_futures=True)

    async def _prepared(self, body: Body, made: list[str] | None) -> Work:
        if self._num_preparing >= self.limits.max_waiting + self.limits.max_live:
            raise queue_full()
        self._num_preparing += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._preparing, self._preparer.work, body, made)
        except UserError as error:
            raise cannot(error) from error
        finally:
            self._num_preparing -= 1

    async def _ensemble(self, choice: _Choice, work: Work, deadline: float) -> dict[str, object]:
        """What stands beside an answer."""
        answer, request = choice.answer, choice.request
        assert answer is not None
        shares: dict[str, list[float]] = {}
        if work.attribution:
            try:
                shares = await self.aside.attribution(
                    request, work.method, answer, work.attribution, deadline
                )
            except UserError as error:
                raise cannot(error, "attribution") from error
        asked = request.wordings if work.method.kind != "original" else request.wordings[:1]
        answers: tuple[Outcome | None, ...] = choice.members or (None,) * len(asked)
        if len(asked) == 1 and not work.method.reads_prior:
            answers = (answer,)
        return {
            "method": work.method.name,
            "members": [_member(*one) for one in zip(asked, answers, strict=True)],
            "agreement": _agreement(answer, choice.members),
            "weights": None if request.weights is None else list(request.weights),
            "shares": shares,
        }


def _take(choice: _Choice, step: Step, work: Work) -> None:
    if step.wording is not None or not isinstance(step.outcome, Answer):
        return
    if step.method == work.method.name:
        choice.answer, choice.last = step.outcome, step
    if step.method == EACH.name or work.method.kind in ("vote", "alone"):
        choice.has_members = True
        choice.members = step.outcome.members


def _member(wording: str, answer: Outcome | None) -> dict[str, object]:
    if not isinstance(answer, Answer):
        return {"wording": wording, "answer": None, "mean_logprob": None}
    return {
        "wording": wording,
        "answer": answer.generation,
        "mean_logprob": answer.mean_logprob,
    }


def _agreement(answer: Answer, members: tuple[Outcome, ...]) -> float | None:
    """The share of members that answer the same, as `vote` compares; None where none was asked."""
    if not members:
        return None
    wanted = normalise(first_line(answer.generation))
    same = [
        isinstance(one, Answer) and normalise(first_line(one.generation)) == wanted
        for one in members
    ]
    return sum(same) / len(same)

"""A question from what was typed to boards that fill up, over the server's own service."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from math import isfinite
from time import monotonic

from self_ensemble.asking.request import Answer, Outcome, Request
from self_ensemble.asking.streaming import Step
from self_ensemble.attribution.kinds import LeaveOneOut, why_not
from self_ensemble.errors import UserError
from self_ensemble.playground.board import (
    MAX_WORDINGS,
    Asked,
    Board,
    Gate,
    Lengths,
    Refusal,
    Said,
    Strip,
)  # fmt: skip
from self_ensemble.playground.snippets import body_of
from self_ensemble.serving.errors import ApiError, cannot
from self_ensemble.serving.preparing import EACH, Body, Work
from self_ensemble.serving.scheduler import Ticket
from self_ensemble.serving.schema import ChatAsked, CompletionAsked
from self_ensemble.serving.service import Service

EVERY_S = 0.1  # boards come no faster than that
KIND = LeaveOneOut.kind


async def answer(
    service: Service, asked: Asked, gate: Gate | None = None, *, attribute: bool = True
) -> AsyncGenerator[Board, None]:
    """Boards, each with more on it than the last; leaving this iterator gives the question up.

    Raises:
        ApiError: It cannot be asked, or was not answered in time.
    """
    deadline = service.deadline()
    work = await _work(service, asked, deadline)
    request = work.requests[0]
    board = Board(
        model=service.name, asked=asked, gate=gate, members=[Said()] * len(asked.wordings),
        fused={method.name: Said() for method in work.methods if method.name in asked.methods},
    )  # fmt: skip
    answers: dict[str, Answer] = {}
    ticket = Ticket(work, deadline, service.limits.deadline_s, every_step=True)
    service.scheduler.submit(ticket)
    steps, told = ticket.steps(), 0.0
    yield board
    try:
        async for step in steps:
            if isinstance(step.outcome, Answer):
                answers[step.method] = step.outcome
            board = _with(board, step)
            if monotonic() - told > EVERY_S:
                told = monotonic()
                yield board
    finally:
        await steps.aclose()
    longest = max(len(one.token_ids) for one in answers.values())
    board = board.change(lengths=_lengths(request, longest))
    yield board
    if not attribute or len(asked.wordings) < 2:
        return
    for method in work.methods:
        if method.name not in answers or why_not(KIND, method) is not None:
            continue
        try:
            found = await service.aside.attributed(
                request, method, answers[method.name], (KIND,), deadline
            )
        except UserError as error:
            raise cannot(error) from error
        board = board.change(strips=[*board.strips, _strip(found[KIND])])
        yield board


async def make_wordings(
    service: Service, original: str, num: int, seed: int | None = None
) -> Gate:
    """Wordings made by the model: those that the gate kept, and those that it refused.

    Without a seed they are others each time.

    Raises:
        ApiError: They cannot be made, or not in time.
    """
    most = min(service.limits.max_wordings, MAX_WORDINGS) - 1
    if not original or len(original.splitlines()) > 1 or len(original) > 4000:
        raise ApiError(422, "Write a question of one line first.")
    if not 1 <= num <= most:
        raise ApiError(422, f"Got {num} wordings to make. Give a number from 1 to {most}.")
    seed = secrets.randbits(62) if seed is None else seed
    kept, refused = await service.aside.drawn(original, num, seed, service.deadline())
    return Gate(
        original=original,
        kept=[one.text for one in kept],
        refused=[Refusal(text=one.text[:4000], reason=one.reason) for one in refused[:200]],
    )


async def _work(service: Service, asked: Asked, deadline: float) -> Work:
    """One work of all methods; what the server would refuse of any of them is refused."""
    each = []
    for method in asked.methods:
        route, values = body_of(asked, service.name, method)
        kind: type[Body] = ChatAsked if route.endswith("chat/completions") else CompletionAsked
        each.append(await service.prepare(kind.model_validate(values), deadline))
    methods = tuple(dict.fromkeys((*(work.method for work in each), EACH)))
    return replace(each[0], methods=methods)


def _with(board: Board, step: Step) -> Board:
    """A board with what is new."""
    members, fused = list(board.members), dict(board.fused)
    if isinstance(step.outcome, Answer):
        if step.method == EACH.name:
            members = [_said(one) for one in step.outcome.members]
        if step.method in fused:
            fused[step.method] = _said(step.outcome)
    elif step.method == EACH.name and step.wording is not None:
        members[step.wording] = Said(text=step.text)
    elif step.method in fused and step.wording is None:
        fused[step.method] = Said(text=step.text)
    return board.change(members=members, fused=fused)


def _lengths(request: Request, num_generated: int) -> Lengths | None:
    """Of the packed question; None where its wordings have no end in common."""
    assert request.frame is not None
    parts = request.frame.parts(request.wordings)
    if not parts.cue or not all(parts.segments):
        return None
    return Lengths(
        prefix=len(parts.prefix), segments=list(map(len, parts.segments)), cue=len(parts.cue),
        generated=num_generated,
    )  # fmt: skip


def _said(answer: Outcome) -> Said:
    if not isinstance(answer, Answer):
        return Said(is_whole=True)
    mean = answer.mean_logprob
    return Said(
        text=answer.generation, logprob=round(mean, 4) if isfinite(mean) else None, is_whole=True
    )


def _strip(found: object) -> Strip:
    assert isinstance(found, LeaveOneOut)
    return Strip(
        kind=found.kind, method=found.method, tokens=list(found.tokens),
        values=[[round(value, 4) for value in row] for row in found.values],
        total=[round(value, 4) for value in found.total],
    )  # fmt: skip


def methods_of(service: Service) -> list[str]:
    """Methods to choose from: the server's, without those that need weights and `per_prompt`."""
    return [
        method.name
        for method in service.ensemble.methods
        if not method.needs_weights and method.name != EACH.name
    ]


def opened(board: Board, methods: Sequence[str], styles: Sequence[str]) -> str:
    """What to say of a board from a file, where the server has these methods and styles."""
    missing = [one for one in board.asked.methods if one not in methods]
    if board.asked.style not in styles:
        missing.append(board.asked.style)
    without = f" Cannot be asked again here: {', '.join(missing)}." if missing else ""
    return f"From a file, answered by {board.model}. Press Ask to ask again.{without}"


def told(error: UserError | ApiError) -> str:
    """What the page says of a refusal."""
    if isinstance(error, UserError):
        return f"{error} [{error.code}]"
    # The server's own are words, which say nothing that the message does not.
    has_page = error.code is not None and error.code.startswith("SE-")
    return f"{error.message} [{error.code}]" if has_page else error.message

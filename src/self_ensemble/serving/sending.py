"""Answers on their way to a client, who may go away at any time."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from self_ensemble.serving.errors import ApiError
from self_ensemble.serving.preparing import Work
from self_ensemble.serving.replies import Json, Reply
from self_ensemble.serving.service import Service, Told

Result = TypeVar("Result")
Events = AsyncGenerator[str, None]
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def while_there(request: Request, awaited: Awaitable[Result]) -> Result:
    """Wait for something, as long as the client does.

    Raises:
        ApiError: The client went away; what was waited for is cancelled.
    """
    task, gone = asyncio.ensure_future(awaited), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ApiError(499, "The client went away.")
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def ends_of(service: Service, work: Work, deadline: float) -> list[Told]:
    """The whole answers of a request."""
    told = service.told(work, deadline, every_step=False)
    try:
        return [one async for one in told if one.end is not None]
    finally:
        await told.aclose()


async def events_of(
    service: Service,
    work: Work,
    reply: Reply,
    deadline: float,
    usage: bool,
    first_text: Callable[[float], None],
) -> Events:
    """Server-sent events of a request; a failure behind the first of them is one, too."""
    started, begun, ends = monotonic(), False, list[Told]()
    told = service.told(work, deadline, every_step=True)
    try:
        async for one in told:
            if not begun:
                begun = True
                first_text(monotonic() - started)
                for choice in range(len(work.requests) if reply.is_chat else 0):
                    yield _event(reply.opening(choice))
            if one.end is not None:
                ends.append(one)
            if (chunk := reply.chunk(one)) is not None:
                yield _event(chunk)
        if usage:
            yield _event(reply.last(ends))
        yield "data: [DONE]\n\n"
    except ApiError as error:
        if not begun:
            raise
        yield _event(error.body)
    finally:
        await told.aclose()


class EventsResponse(StreamingResponse):
    """Events as they come. However it ends, what makes them is closed."""

    def __init__(self, first: str, events: Events) -> None:
        """Send the first event, then the others."""
        self._events = events
        super().__init__(_chain(first, events), media_type="text/event-stream", headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()


async def _chain(first: str, events: Events) -> AsyncIterator[str]:
    yield first
    async for event in events:
        yield event


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(body: Json) -> str:
    return f"data: {json.dumps(body)}\n\n"

"""What every request passes before a route sees it: keys, the size and pace of its body, the log.

Plain ASGI, so that a body is counted as it comes and a refused one is never read.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from self_ensemble.serving.errors import ApiError, internal
from self_ensemble.serving.keys import Keys
from self_ensemble.serving.limits import Limits
from self_ensemble.serving.logs import log_failure, log_line

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Observe = Callable[[str, int, float], None]

OPEN = frozenset({"/healthz"})  # without a key, and without a line in the log
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
KEY = b"authorization"
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Guard:
    """A middleware.

    Attributes:
        app: What it guards.
        keys: Who may ask.
        limits: How large a body may be, and how long it may take.
        observe: Is told route, status and seconds of every request.
        only_local: Whether only names of this machine are taken as host: a page in a browser
            could otherwise reach a server without keys under a name of its own.
    """

    app: App
    keys: Keys
    limits: Limits
    observe: Observe = lambda route, status, seconds: None
    only_local: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] == "websocket" and not self.keys.admit(_headers(scope).get(KEY)):
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, said = perf_counter(), _Said(send)
        scope.setdefault("state", {})["log"] = fields = {"id": secrets.token_hex(8)}
        try:
            self._check(scope)
            body = await self._body(receive) if scope["method"] in WITH_BODY else None
            await self.app(scope, _replayed(body, receive), said.send)
        except ApiError as error:
            await said.refuse(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets no traceback
            log_failure(error)
            await said.refuse(internal())
        finally:
            seconds = perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self.observe(route, said.status, seconds)
            if scope["path"] not in OPEN:
                log_line(
                    event="request", method=scope["method"], route=route, status=said.status,
                    ms=round(1e3 * seconds, 1), **fields,
                )  # fmt: skip

    def _check(self, scope: Scope) -> None:
        if scope["path"] in OPEN:
            return
        headers = _headers(scope)
        if not self.keys.admit(headers.get(KEY)):
            message = "No key, or one that is not known. Send Authorization: Bearer KEY."
            raise ApiError(401, message, "invalid_api_key")
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.only_local and not self.keys.are_there and _name(host) not in LOCAL:
            raise ApiError(421, "This server is asked as localhost or 127.0.0.1 only.")
        if scope["method"] not in WITH_BODY:
            return
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self.limits.max_body_bytes:
            raise self._too_large()
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        # A page of another site may send other types without asking.
        if scope["path"].startswith("/v1/") and kind != b"application/json":
            raise ApiError(415, "Send JSON, with Content-Type: application/json.")

    async def _body(self, receive: Receive) -> bytes:
        """All of a body, as far as it is not too large or too slow."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ApiError(499, "The client went away.")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.limits.max_body_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            seconds = f"{self.limits.body_s:g}"
            raise ApiError(408, f"The body did not come within {seconds} s.") from None

    def _too_large(self) -> ApiError:
        message = f"The body is larger than {self.limits.max_body_bytes} bytes."
        return ApiError(413, message, "body_too_large")


@dataclass(slots=True)
class _Said:
    """What was sent so far."""

    _send: Send
    status: int = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Answer with an error, unless something was answered already."""
        if self.status:
            return
        body = json.dumps(error.body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        if error.status in (408, 413):
            headers["connection"] = "close"  # the rest of the body is not read
        given = [(k.lower().encode(), v.encode()) for k, v in (headers | error.headers).items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": given})
        await self.send({"type": "http.response.body", "body": body})


def _replayed(body: bytes | None, receive: Receive) -> Receive:
    """A body that was read, and then whatever comes: that the client goes away."""
    if body is None:
        return receive
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


def _name(host: str) -> str:
    """A host without its port."""
    name, _, port = host.rpartition(":")
    return name if port.isdigit() else host

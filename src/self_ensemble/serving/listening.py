"""A server process: listens, gives up on clients that do nothing, ends what it has begun."""

import asyncio
import socket
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from self_ensemble.errors import UserError
from self_ensemble.serving.limits import Limits

NUM_CONNECTIONS = 1000
DRAIN_S = 5.0  # beyond the deadline of what was begun


def open_socket(host: str, port: int) -> socket.socket:
    """Take an address.

    Raises:
        UserError: It cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"Got --port {port}. Give a number from 1 to 65535.", "SE-0010")
    found = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        if found is not None:
            found.close()
        raise UserError(
            f"Cannot listen on {host}:{port} ({error.strerror}). Give another --port or --host.",
            "SE-1003",
        ) from error
    return found


def make_server(app: Any, limits: Limits) -> uvicorn.Server:
    """A server; `run(sockets=[open_socket(...)])` serves until SIGTERM or SIGINT.

    It then takes no connection any more and finishes what was begun.
    """
    config = uvicorn.Config(
        app,
        http=type(
            "Protocol", (_Protocol,), {"header_s": limits.header_s, "unread_s": limits.body_s}
        ),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        # Addresses of clients are the proxy's business.
        proxy_headers=False,
        limit_concurrency=NUM_CONNECTIONS,
        timeout_keep_alive=int(max(1, limits.header_s)),
        timeout_graceful_shutdown=int(limits.deadline_s + DRAIN_S),
    )
    return uvicorn.Server(config)


class _Protocol(H11Protocol):
    """HTTP/1.1 with clients that may not keep a connection by doing nothing.

    Attributes:
        header_s: Within how many seconds a request's head must come.
        unread_s: For how many seconds a client may read nothing of what is sent.
    """

    header_s: ClassVar[float]
    unread_s: ClassVar[float]
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_between = self.cycle is None or self.cycle.response_complete
        if not is_between and self._head is not None:
            self._head.cancel()
            self._head = None
        elif is_between and self._head is None:
            self._wait_for_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        # Closing would wait until all was read.
        self._unread = self.loop.call_later(self.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting(self._unread)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting(self._head, self._unread)
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._head = self.loop.call_later(self.header_s, self.transport.close)

    def _stop_waiting(self, *timers: asyncio.TimerHandle | None) -> None:
        for timer in timers:
            if timer is not None:
                timer.cancel()

"""A server process: listens, gives up on clients that send no head, ends what it has begun."""

import asyncio
import socket
from typing import Any

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
        http=_protocol(limits.header_s),
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


def _protocol(seconds: float) -> type[H11Protocol]:
    """HTTP/1.1, in which a request's head must come within some seconds."""

    class Protocol(H11Protocol):
        _head: asyncio.TimerHandle | None = None

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

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head is not None:
                self._head.cancel()
            super().connection_lost(exc)

        def _wait_for_head(self) -> None:
            self._head = self.loop.call_later(seconds, self.transport.close)

    return Protocol

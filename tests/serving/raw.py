"""Connections that do what no client library does."""

import json
import socket
from contextlib import contextmanager


@contextmanager
def connection(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as found:
        yield found


def head(path: str, length: int, **headers: str) -> bytes:
    fields = {"Host": "localhost", "Content-Type": "application/json", **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{key}: {value}" for key, value in fields.items())]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def request(path: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    return head(path, len(content)) + content


def everything(found: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    parts = []
    while part := found.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)

"""What a browser needs in front of the guard: a key that it can type, and a closed page.

Plain ASGI around the whole application; `/v1/...` passes as it is.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field

from self_ensemble.serving.guard import App, Message, Receive, Scope, Send

PATH = "/playground"
# What the page asks for; Gradio's other routes (files, uploads, proxies) are not there.
_ROUTES = re.compile(
    r"(?!.*\.\.)/?(?:|config|theme\.css|favicon\.ico|(?:assets|static|svelte)/[\w./@-]+|"
    r"gradio_api/(?:queue/(?:join|data)|cancel|reset|startup-events|heartbeat/\w+))/?"
)
_HEARTBEAT = f"{PATH}/gradio_api/heartbeat/"
_FAVICON = "/favicon.ico"  # browsers ask for it in any case
# A browser fetches nothing from elsewhere, whatever the page says. Gradio's scripts are inline and
# evaluate the handlers that the page has.
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Of Gradio's page: previews for other sites, and an app to install, which there is not.
_ELSEWHERE = re.compile(
    rb"""<meta\s+(?:property|name)="(?:og|twitter):[^>]*>|<link\s+rel="manifest"[^>]*>"""
)
_CHALLENGE = (b"www-authenticate", b'Basic realm="self-ensemble", charset="UTF-8"')


@dataclass(frozen=True, slots=True)
class Door:
    """A middleware.

    Attributes:
        app: The application with its guard.
    """

    app: App

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path == _FAVICON:
            await _refuse(send, 204)
            return
        if scope["type"] != "http" or not (path == "/" or is_page(path)):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if _is_elsewhere(headers):
            await _refuse(send, 403)
        elif path.startswith(_HEARTBEAT):
            # It would stay open as long as the page, and keep the server from ending.
            await _refuse(send, 204)
        elif is_page(path) and not _ROUTES.fullmatch(path.removeprefix(PATH)):
            await _refuse(send, 404)
        else:
            is_html = path in (PATH, f"{PATH}/")
            said = _Said(send, is_html)
            await self.app({**scope, "headers": _given(scope, is_html)}, receive, said.send)


def is_page(path: str) -> bool:
    """Whether it is the playground's."""
    return path == PATH or path.startswith(f"{PATH}/")


def bearer(authorization: bytes) -> bytes:
    """What a browser sends for a key that was typed as password, as other clients send it."""
    scheme, _, given = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return authorization
    try:
        return b"Bearer " + base64.b64decode(given.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return authorization


def _given(scope: Scope, is_html: bool) -> list[tuple[bytes, bytes]]:
    return [
        (name, bearer(value) if name == b"authorization" else value)
        for name, value in scope["headers"]
        if not (is_html and name == b"accept-encoding")  # it is changed on its way
    ]


def _is_elsewhere(headers: dict[bytes, bytes]) -> bool:
    """Whether a page of another site asks: a browser would send this one's key along."""
    origin = headers.get(b"origin")
    return origin is not None and origin.rpartition(b"//")[2] != headers.get(b"host")


@dataclass(slots=True)
class _Said:
    """What is answered, with our headers; of the page itself without what points elsewhere."""

    _send: Send
    _is_html: bool
    _start: Message = field(default_factory=dict)
    _body: bytes = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = _closed(message)
            if not self._is_html:
                await self._send(self._start)
            return
        if not self._is_html:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            body = _ELSEWHERE.sub(b"", self._body)
            headers = [one for one in self._start["headers"] if one[0] != b"content-length"]
            headers.append((b"content-length", str(len(body)).encode()))
            await self._send({**self._start, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})


def _closed(message: Message) -> Message:
    given = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
    headers = [one for one in message.get("headers", []) if one[0].decode() not in _HEADERS]
    if message["status"] == 401:
        headers = [one for one in headers if one[0] != _CHALLENGE[0]] + [_CHALLENGE]
    return {**message, "headers": [*headers, *given]}


async def _refuse(send: Send, status: int) -> None:
    headers = [] if status == 204 else [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})

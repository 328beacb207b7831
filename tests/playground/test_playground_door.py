"""What a browser passes before the guard."""

import asyncio
import base64

import pytest

from self_ensemble.playground.door import Door, bearer


def ask(path, *, method="GET", headers=None, answer=(200, [], b"page")):
    """Status, headers and body that a request gets, and the headers that the application saw."""
    seen, said = [], []

    async def app(scope, receive, send):
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": answer[0], "headers": answer[1]})
        await send({"type": "http.response.body", "body": answer[2]})

    async def send(message):
        said.append(message)

    given = [
        (k.encode(), v.encode()) for k, v in ({"host": "localhost:1"} | (headers or {})).items()
    ]
    scope = {"type": "http", "path": path, "method": method, "headers": given}
    asyncio.run(Door(app)(scope, None, send))
    body = b"".join(one.get("body", b"") for one in said[1:])
    return said[0]["status"], dict(said[0]["headers"]), body, seen


def basic(text: bytes) -> bytes:
    return b"Basic " + base64.b64encode(text)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (basic(b"anybody:secret"), b"Bearer secret"),
        (basic(b":se:cret"), b"Bearer se:cret"),
        (b"bAsIc " + base64.b64encode(b"a:k"), b"Bearer k"),
        (b"Bearer secret", b"Bearer secret"),
        (b"Basic !", b"Basic !"),
        (b"", b""),
    ],
)
def test_a_typed_password_is_a_key(given, wanted):
    assert bearer(given) == wanted


def test_a_password_is_no_key_for_the_api():
    # A browser would send it for any page that asks.
    given = {"authorization": basic(b"a:k").decode()}
    assert ask("/v1/models", headers=given)[3][0][b"authorization"].startswith(b"Basic")
    assert ask("/playground/", headers=given)[3][0][b"authorization"] == b"Bearer k"


def test_a_browser_is_told_to_ask_for_a_key_on_the_page_alone():
    refused = (401, [(b"www-authenticate", b"Bearer")], b"")
    assert ask("/playground/", answer=refused)[1][b"www-authenticate"].startswith(b"Basic")
    assert ask("/v1/models", answer=refused)[1][b"www-authenticate"] == b"Bearer"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:2", "null"])
def test_a_page_of_another_site_may_not_ask(origin):
    path = "/playground/gradio_api/queue/join"
    assert ask(path, method="POST", headers={"origin": origin})[0] == 403
    assert ask(path, method="POST", headers={"origin": "http://localhost:1"})[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/upload", "gradio_api/file=/etc/passwd", "gradio_api/proxy=https://a.b/",
        "gradio_api/run/predict", "gradio_api/call/x", "gradio_api/vibe-edit", "monitoring",
        "gradio_api/info", "login", "static/../config", "gradio_api/openapi.json",
    ],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(path):
    status, _, _, seen = ask(f"/playground/{path}")
    assert (status, seen) == (404, [])


def test_nothing_stays_open_as_long_as_the_page():
    assert ask("/playground/gradio_api/heartbeat/abc")[0] == 204


def test_the_page_fetches_nothing_from_elsewhere():
    page = (
        b'<meta property="og:image"\ncontent="https://a.b/c"\n/><link rel="manifest" href="/m" />x'
    )
    _, headers, body, _ = ask("/playground/", answer=(200, [(b"content-length", b"99")], page))
    assert (body, headers[b"content-length"]) == (b"x", b"1")
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_other_routes_are_as_they_were():
    assert ask("/v1/models", headers={"origin": "https://evil.example"})[:3] == (200, {}, b"page")

"""What a hostile or broken client meets: a refusal in OpenAI's shape, and nobody else notices."""

import asyncio
import json
import logging
import threading
import time
from dataclasses import replace

import httpx
import openai
import pytest
import torch
from fastapi import Response
from raw import connection, everything, head, request

from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.serving.keys import Keys, check_address
from self_ensemble.serving.limits import Limits
from self_ensemble.serving.scheduler import Ticket
from self_ensemble.serving.schema import CompletionAsked
from self_ensemble.serving.service import Service

KEY = "k" * 32
FINE = {"model": "tiny", "prompt": "Who?", "max_tokens": 3}
LONG = {**FINE, "max_tokens": 400, "stream": False, "logprobs": None}
JSON = {"Content-Type": "application/json"}


def endless(ensemble):
    """The model never ends an answer by itself."""
    ensemble.stop.eos_token_ids = frozenset()
    ensemble.model.model.generation_config.eos_token_id = []
    return ensemble


@pytest.fixture
def endless_ensemble(tiny_ensemble):
    config = tiny_ensemble.model.model.generation_config
    before = config.eos_token_id
    yield endless(tiny_ensemble)
    config.eos_token_id = before


def is_error(found, status):
    assert found.status_code == status
    assert set(found.json()) == {"error"}
    assert set(found.json()["error"]) == {"message", "type", "param", "code"}
    return found.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"", 422), (b"[]", 422), (b"null", 422), (b'"text"', 422),
        (b"\xff\xfe", 400), (b"{" * 100_000, 400), (b"[" * 100_000, 400),
        (b'{"model":"tiny","prompt":NaN}', 422),
        (b'{"model":"tiny","prompt":"a","temperature":NaN}', 422),
        (b'{"model":"tiny","prompt":"a","seed":1e400}', 422),
        (b'{"model":"tiny","prompt":"a","seed":' + b"9" * 4000 + b"}", 422),
        (b'{"model":"tiny","prompt":"a","seed":' + b"9" * 5000 + b"}", 400),
        (b'{"model":"tiny","prompt":"\\ud800"}', 422),
        (b'{"model":"tiny","prompt":[1,2,3]}', 422), (b'{"model":1,"prompt":"a"}', 422),
        (b'{"model":"tiny","prompt":"a","max_tokens":"5"}', 422),
        (b'{"model":"tiny","prompt":"a","max_tokens":0}', 422),
        (b'{"model":"tiny","prompt":"a","max_tokens":true}', 422),
        (b'{"model":"tiny","prompt":"a","stream":"yes"}', 422),
        (b'{"model":"tiny","prompt":"a","wordings":"b"}', 422),
        (b'{"model":"tiny","prompt":"a","weights":[-1]}', 422),
        (b'{"model":"tiny","prompt":"a","weights":[1e999]}', 422),
        (b'{"model":"tiny","prompt":[]}', 422), (b'{"model":"tiny","prompt":""}', 400),
        (b'{"model":"tiny","prompt":"\\u0000"}', 200),
    ],
)  # fmt: skip
def test_a_broken_body_is_refused_in_openais_shape(server, body, status):
    found = server.post(content=body, headers=JSON)
    if status == 200:
        assert found.status_code == 200
        return
    error = is_error(found, status)
    assert "Traceback" not in error["message"]
    assert ".py" not in error["message"]
    assert len(error["message"]) < 1000


def test_a_body_of_another_type_or_for_no_route_is_refused(server):
    content = json.dumps(FINE)
    is_error(server.post(content=content, headers={"Content-Type": "text/plain"}), 415)
    is_error(server.post("/v1/nowhere", json=FINE), 404)
    is_error(server.post("/v1/models", json=FINE), 405)
    is_error(server.post(json=FINE, headers={"Host": "evil.example:80"}), 421)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server):
    ten = 10 * (1 << 20)
    with connection(server.port) as found:
        found.sendall(head("/v1/completions", ten))
        assert b" 413 " in everything(found)
    with connection(server.port) as found:
        headers = head("/v1/completions", 0).replace(
            b"Content-Length: 0", b"Transfer-Encoding: chunked"
        )
        found.sendall(headers)
        chunk = b"%x\r\n%s\r\n" % (1 << 16, b"a" * (1 << 16))
        # It closes the connection and does not read on.
        with pytest.raises(OSError, match=r"reset|pipe"):
            found.sendall(chunk * 1000)
    assert server.post(json=FINE).status_code == 200


def test_a_client_that_sends_slowly_is_let_go(start, tiny_ensemble):
    limits = Limits(header_s=0.3, body_s=0.3)
    with start(tiny_ensemble, limits=limits) as server:
        slow = [connection(server.port) for _ in range(50)]
        opened = [one.__enter__() for one in slow]
        try:
            for one in opened[:25]:
                one.sendall(b"POST /v1/completions HTT")
            started = time.monotonic()
            assert server.post(json=FINE).status_code == 200
            for one in opened:
                assert everything(one) == b""
            assert time.monotonic() - started < 5
        finally:
            for one in slow:
                one.__exit__(None, None, None)
        with connection(server.port) as found:
            found.sendall(head("/v1/completions", 100) + b"{")
            assert b" 408 " in everything(found)
        with connection(server.port) as found:
            # Drop by drop: the head as a whole has a time, not its parts.
            for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ":
                try:
                    found.sendall(bytes([byte]))
                except OSError:
                    break
                time.sleep(0.02)
            assert everything(found) == b""


def test_a_key_is_needed_on_every_route_but_one(start, tiny_ensemble):
    keys = [f"{n:03}{KEY}" for n in range(100)]
    with start(tiny_ensemble, keys=Keys(keys)) as server:
        for path in ("/v1/completions", "/v1/nowhere"):
            for given in ({}, {"Authorization": f"Bearer x{KEY}"}, {"Authorization": KEY}):
                found = server.post(path, json=FINE, headers=given)
                assert is_error(found, 401)["code"] == "invalid_api_key"
        for path in ("/v1/models", "/metrics", "/openapi.json", "/", "/healthz/", "//healthz"):
            is_error(httpx.get(server.url + path), 401)
        assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
        assert httpx.head(f"{server.url}/healthz").status_code == 200
        is_error(httpx.get(f"{server.url}/v1/models/tiny"), 401)
        for key in keys:
            assert server.client(key).models.list().data
        with pytest.raises(openai.AuthenticationError):
            server.client("wrong" * 5).models.list()
        assert server.post(json=FINE, headers={"Authorization": f"bearer {keys[7]}"}).is_success


def test_keys_come_from_a_file_and_the_environment(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{KEY}  # the first\n\n  {KEY}2\n")
    keys = Keys.read(file, f"{KEY}3, {KEY}4")
    for end in ("", "2", "3", "4"):
        assert keys.admit(f"Bearer {KEY}{end}".encode())
    for given in (None, b"", b"Bearer", b"Bearer ", f"Bearer {KEY}5".encode(), KEY.encode()):
        assert not keys.admit(given)
    with pytest.raises(UserError, match="can be guessed"):
        Keys(["short"])
    with pytest.raises(UserError, match="no HTTP header carries"):
        Keys(["\u00e9" * 20])
    file.write_text("# none\n")
    with pytest.raises(UserError, match="has no key"):
        Keys.read(file, None)
    with pytest.raises(UserError, match="one a line"):
        Keys.read(tmp_path / "nowhere", None)


def test_another_address_needs_a_key():
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        check_address(host, Keys(()))
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.evil.example"):
        with pytest.raises(UserError, match="Give --api-keys"):
            check_address(host, Keys(()))
        check_address(host, Keys([KEY]))


def test_no_site_may_ask_from_a_browser_unless_it_is_named(start, server, tiny_ensemble):
    origin = {"Origin": "https://site.example"}
    assert "access-control-allow-origin" not in server.post(json=FINE, headers=origin).headers
    with start(tiny_ensemble, cors_origins=("https://site.example",)) as named:
        found = named.post(json=FINE, headers=origin)
        assert found.headers["access-control-allow-origin"] == "https://site.example"


def test_a_browser_of_a_site_that_is_named_may_send_a_key(start, tiny_ensemble):
    origin = {"Origin": "https://site.example"}
    wants = {"Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization, content-type"}  # fmt: skip
    sites = {"cors_origins": ("https://site.example",)}
    with start(tiny_ensemble, keys=Keys([KEY]), **sites) as server:
        url = f"{server.url}/v1/completions"
        asked = httpx.options(url, headers=origin | wants)
        assert asked.status_code == 200
        assert "Authorization" in asked.headers["access-control-allow-headers"]
        other = httpx.options(url, headers={"Origin": "https://other.example"} | wants)
        assert "access-control-allow-origin" not in other.headers
        refused = server.post(json=FINE, headers=origin)
        assert is_error(refused, 401)
        assert refused.headers["access-control-allow-origin"] == "https://site.example"


def test_a_request_that_takes_too_long_is_given_up(start, endless_ensemble):
    with start(endless_ensemble, limits=Limits(deadline_s=0.5)) as server:
        is_error(server.post(json=LONG), 504)
        server.wait_until(lambda: server.service.scheduler.num_live == 0, 1)
        steps = server.service.scheduler.counts.steps
        time.sleep(0.1)
        assert server.service.scheduler.counts.steps == steps
        streamed = server.post(json={**LONG, "stream": True}).text.strip().split("\n\n")
        assert len(streamed) > 2
        last = json.loads(streamed[-1].removeprefix("data: "))
        assert last["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_its_work(start, endless_ensemble, stream):
    with start(endless_ensemble) as server:
        scheduler = server.service.scheduler
        with connection(server.port) as found:
            found.sendall(request("/v1/completions", {**LONG, "stream": stream}))
            server.wait_until(lambda: scheduler.num_live == 1)
            if stream:
                while b"data: " not in found.recv(4096):
                    pass
        server.wait_until(lambda: scheduler.num_live == 0)
        assert scheduler.counts.tokens == 0, "it never came to its end"


def test_a_client_that_reads_nothing_is_let_go(start, tiny_ensemble):
    large = b"x" * (1 << 26)

    def mount(app):
        app.add_route("/large", lambda _: Response(large))

    with (
        start(tiny_ensemble, mount=mount, limits=Limits(body_s=1.5)) as server,
        connection(server.port) as found,
    ):
        found.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        # Four times what it is given, which is more than a busy machine keeps a reader waiting.
        time.sleep(6)
        assert len(everything(found)) < len(large)
        assert len(httpx.get(f"{server.url}/large").content) == len(large)


def test_what_nobody_reads_ends_with_its_time(endless_ensemble):
    service = Service(endless_ensemble, Limits(deadline_s=0.3))
    asked = CompletionAsked(**{**LONG, "stream": True})

    async def ask():
        work = await service.prepare(asked, service.deadline())
        ticket = Ticket(work, service.deadline(), 0.3, every_step=True)
        service.scheduler.submit(ticket)
        while service.scheduler.num_live == 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert not ticket.is_cancelled
        assert service.scheduler.num_live == 0

    try:
        asyncio.run(ask())
    finally:
        service.close()


def test_a_client_that_goes_away_while_it_waits_is_never_begun(start, endless_ensemble):
    with start(endless_ensemble, limits=Limits(max_live=1, max_choices=1)) as server:
        scheduler = server.service.scheduler
        with connection(server.port) as first:
            first.sendall(request("/v1/completions", LONG))
            server.wait_until(lambda: scheduler.num_live == 1)
            with connection(server.port) as second:
                second.sendall(request("/v1/completions", LONG))
                server.wait_until(lambda: scheduler.num_waiting == 1)
            server.wait_until(lambda: scheduler.num_waiting == 0)
            assert scheduler.num_live == 1


def test_too_many_requests_are_told_to_come_back(start, endless_ensemble):
    limits = Limits(max_live=1, max_choices=1, max_waiting=1, deadline_s=5)
    with start(endless_ensemble, limits=limits) as server:
        scheduler = server.service.scheduler
        threads = [threading.Thread(target=server.post, kwargs={"json": LONG}) for _ in range(2)]
        for n, thread in enumerate(threads):
            thread.start()
            server.wait_until(lambda n=n: scheduler.num_live + scheduler.num_waiting == n + 1)
        found = server.post(json=FINE)
        assert is_error(found, 429)["type"] == "rate_limit_error"
        assert int(found.headers["Retry-After"]) >= 1
        for thread in threads:
            thread.join()
        assert server.post(json=FINE).status_code == 200


def test_a_short_answer_does_not_wait_for_a_long_one(start, endless_ensemble):
    with start(endless_ensemble) as server:
        scheduler = server.service.scheduler
        long = threading.Thread(target=server.post, kwargs={"json": LONG})
        long.start()
        server.wait_until(lambda: scheduler.num_live == 1)
        before = scheduler.counts.steps
        assert server.post(json=FINE).status_code == 200
        # Its own three, and those that were made while it was on its way.
        assert scheduler.num_live == 1
        assert scheduler.counts.steps - before < 100
        long.join()


def test_one_bad_request_fails_alone(start, tiny_loaded, tiny_ensemble, caplog):
    def picky(logits, weights):
        if logits.shape[-2] == 2:
            raise ValueError("secret prompt")
        return logits.mean(dim=-2)

    asked = Ensemble(tiny_loaded, ["origin", picky])
    name = asked.methods[1].name
    with start(asked) as server:
        found = {}

        def ask(n, body):
            found[n] = server.post(json=body)

        fine = {**FINE, "max_tokens": 40}
        bodies = [fine, {**fine, "wordings": ["Whom?"], "method": name},
                  {**fine, "wordings": ["Whom?", "Where?"], "method": name}]  # fmt: skip
        threads = [threading.Thread(target=ask, args=one) for one in enumerate(bodies)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found[n].status_code for n in range(3)] == [200, 500, 200]
        # What a rule of the server's says, and where it stands, is for its own log.
        error = is_error(found[1], 500)
        assert error["code"] == "SE-0605"
        assert "secret" not in found[1].text
        assert ".py" not in found[1].text
    failures = [json.loads(one.message) for one in caplog.records if "failure" in one.message]
    assert [(one["code"], "secret prompt" in one["said"]) for one in failures] == [
        ("SE-0605", True)
    ]


def test_what_the_server_itself_cannot_do_is_no_fault_of_the_request(
    start, tiny_ensemble, caplog, monkeypatch
):
    """FlexAttention that does not compile is told by the name of a file on this machine."""
    with start(tiny_ensemble) as server, monkeypatch.context() as patch:
        no_compiler = UserError("FlexAttention does not compile here (/opt/cc).", "SE-0403")
        patch.setattr(
            "self_ensemble.passes.prefill.RowCache",
            lambda *_, **__: (_ for _ in ()).throw(no_compiler),
        )
        assert "/opt" not in is_error(server.post(json=FINE), 500)["message"]
    (failure,) = [json.loads(one.message) for one in caplog.records if "failure" in one.message]
    assert failure["code"] == "SE-0403"


@pytest.fixture
def spoilt(tiny_model, tiny_loaded):
    """A model whose logits behind one letter are nan."""
    found = replace(tiny_loaded, model=tiny_model("llama"))
    token = found.tokenizer("\u00e9")["input_ids"][0]
    with torch.no_grad():
        found.model.get_input_embeddings().weight[token] = torch.nan
    return found


def test_what_is_not_finite_has_the_code_of_its_remedy(start, spoilt):
    with start(Ensemble(spoilt, "origin")) as server:
        error = is_error(server.post(json={**FINE, "prompt": "\u00e9"}), 500)
        assert error["code"] == "SE-0611"
        assert server.post(json=FINE).status_code == 200


def test_a_wording_without_an_answer_is_told_as_one(start, spoilt):
    asked = {**FINE, "wordings": ["\u00e9?", "Whom?"], "method": "per_prompt"}
    with start(Ensemble(spoilt, "per_prompt")) as server:
        (choice,) = server.post(json=asked).json()["choices"]
        said = [one["answer"] for one in choice["ensemble"]["members"]]
        assert said[0] == choice["text"]
        assert said[1] is None
        assert said[2]
        assert choice["ensemble"]["agreement"] <= 2 / 3


def test_what_the_scheduler_cannot_foresee_fails_what_is_there_and_nothing_later(
    start, tiny_ensemble, monkeypatch, caplog
):
    with start(tiny_ensemble) as server, caplog.at_level(logging.INFO):
        with monkeypatch.context() as patch:
            patch.setattr(
                "self_ensemble.asking.streaming.advance_all",
                lambda *_: (_ for _ in ()).throw(RuntimeError("secret prompt")),
            )
            error = is_error(server.post(json={**FINE, "prompt": "secret prompt"}), 500)
            assert error["code"] == "internal"
        assert server.post(json=FINE).status_code == 200
        assert server.service.scheduler.counts.failures == 1
    failure = next(json.loads(r.message) for r in caplog.records if "failure" in r.message)
    assert failure["error"] == "RuntimeError"
    assert "secret" not in caplog.text


def test_the_log_has_no_prompt_unless_it_is_asked_for(start, tiny_ensemble, caplog):
    asked = {**FINE, "prompt": "secret prompt"}
    for log_prompts in (False, True):
        caplog.clear()
        with (
            caplog.at_level(logging.INFO, "self_ensemble.serving"),
            start(tiny_ensemble, log_prompts=log_prompts) as server,
        ):
            assert server.post(json=asked).status_code == 200
        (line,) = (json.loads(record.message) for record in caplog.records)
        assert (line["status"], line["route"], line["wordings"]) == (200, "/v1/completions", 1)
        assert ("secret" in caplog.text) == log_prompts


def test_metrics_count_what_was_asked(start, tiny_ensemble):
    with start(tiny_ensemble) as server:
        server.post(json={**FINE, "stream": True})
        server.post(content=b"{", headers=JSON)
        text = httpx.get(f"{server.url}/metrics").text
    assert 'self_ensemble_requests_total{route="/v1/completions",status="200"} 1.0' in text
    assert 'self_ensemble_requests_total{route="/v1/completions",status="400"} 1.0' in text
    assert "self_ensemble_first_token_seconds_count 1.0" in text
    assert "self_ensemble_live 0.0" in text
    assert "self_ensemble_tokens_total 3.0" in text


def test_what_was_begun_is_finished_when_the_server_ends(start, endless_ensemble):
    found = {}
    with start(endless_ensemble, limits=replace(Limits(), deadline_s=30)) as server:

        def ask():
            found["answer"] = server.post(json={**LONG, "max_tokens": 200})

        thread = threading.Thread(target=ask)
        thread.start()
        server.wait_until(lambda: server.service.scheduler.num_live == 1)
    thread.join()
    assert found["answer"].json()["usage"]["completion_tokens"] == 200
    assert not server.service.scheduler.is_alive


def test_what_is_laid_out_for_all_wordings_and_answers_is_limited(start, tiny_ensemble):
    with start(tiny_ensemble, limits=Limits(max_prompt_tokens=100)) as server:
        end = " and this is how all of them end?"
        fine = {**FINE, "prompt": f"Who{end}"}
        assert server.post(json=fine).status_code == 200
        for more in ({"n": 8}, {"wordings": [f"{n}{end}" for n in range(8)]},
                     {"prompt": [f"{n}{end}" for n in range(8)]}):  # fmt: skip
            found = server.post(json={**fine, **more})
            assert "100 at most" in is_error(found, 422)["message"]


def test_limits_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="above 0"):
        Limits(max_live=0)
    with pytest.raises(UserError, match="wait for ever"):
        Limits(max_live=4)

"""The playground over HTTP, mounted into the server."""

import base64
import json
import os
import re
import subprocess
import sys

import httpx
import pytest

pytest.importorskip("gradio", reason="needs the extra playground")

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.cli.main import main
from self_ensemble.ensemble import Ensemble
from self_ensemble.integrations.playground import add_playground
from self_ensemble.serving.keys import Keys

KEY = "0123456789abcdef0123"
# The namespace of SVG is a name that looks like an address.
ELSEWHERE = re.compile(rb"https?://(?!127\.0\.0\.1|www\.w3\.org/2000/svg)[\w.]+")
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.PandasDeprecationWarning")


@pytest.fixture(scope="module")
def page(tiny_loaded, start_once):
    ensemble = Ensemble(tiny_loaded, resolve_methods(["all"], has_weights=True))
    with start_once(ensemble, mount=add_playground) as found:
        yield found


def ask(page, data):
    """What the page is told, until it is all there."""
    url = f"{page.url}/playground"
    config = httpx.get(f"{url}/config").json()
    # The button "Ask" is the first that was connected.
    joined = {"data": data, "fn_index": config["dependencies"][0]["id"], "session_hash": "s"}
    assert httpx.post(f"{url}/gradio_api/queue/join", json=joined).status_code == 200
    told = []
    with httpx.stream("GET", f"{url}/gradio_api/queue/data?session_hash=s", timeout=60) as lines:
        for line in lines.iter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line[6:]))
                if told[-1]["msg"] == "process_completed":
                    return told
    raise AssertionError(told)


def test_a_question_is_answered_as_it_comes(page):
    wordings = ["Who wrote the play?", "The play is by <b>whom</b>?"]
    told = ask(page, [wordings[0], wordings[1], ["avg", "vote"], "plain", 8, True, ""])
    assert told[-1]["success"]
    assert sum(one["msg"] == "process_generating" for one in told) >= 3
    whole = json.dumps(told)
    assert "The play is by &lt;b&gt;whom&lt;/b&gt;?" in whole


def test_a_question_that_cannot_be_asked_is_a_line_on_the_page(page):
    told = ask(page, [" ", "A further wording?", ["avg"], "plain", 8, True, ""])
    assert "There is no question. Write one first. [SE-0010]" in json.dumps(told)
    assert "Traceback" not in json.dumps(told)


def test_the_api_is_beside_it(page):
    assert httpx.get(f"{page.url}/v1/models").status_code == 200
    assert httpx.get(f"{page.url}/").headers["location"] == "/playground/"


def test_neither_page_nor_config_names_anything_elsewhere(page):
    html = httpx.get(f"{page.url}/playground/").content
    # Of a script, a link, a font or a picture: nothing of another host stands in it at all.
    assert ELSEWHERE.findall(html) == []
    assert ELSEWHERE.findall(httpx.get(f"{page.url}/playground/theme.css").content) == []
    config = httpx.get(f"{page.url}/playground/config").json()
    assert ELSEWHERE.findall(json.dumps(config).encode()) == []
    assert config["analytics_enabled"] is False
    assert config["stylesheets"] in ([], None)


def test_every_answer_of_the_page_forbids_other_hosts(page):
    for path in ("", "config", "theme.css"):
        policy = httpx.get(f"{page.url}/playground/{path}").headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "*" not in policy


def test_it_needs_the_key_of_the_server(tiny_ensemble, start):
    with start(tiny_ensemble, mount=add_playground, keys=Keys([KEY])) as found:
        url = f"{found.url}/playground"
        for path in ("/", "/config", "/gradio_api/queue/data?session_hash=s"):
            refused = httpx.get(url + path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic")
        assert httpx.post(f"{url}/gradio_api/queue/join", json={}).status_code == 401
        assert httpx.get(f"{url}/", auth=("me", "wrong" * 5)).status_code == 401
        assert httpx.get(f"{url}/", auth=("me", KEY)).status_code == 200
        # As a password it is no key of the API, which other sites' pages could then ask.
        typed = {"Authorization": "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()}
        assert httpx.get(f"{found.url}/v1/models", headers=typed).status_code == 401


def test_another_name_of_this_machine_is_refused(page):
    found = httpx.get(f"{page.url}/playground/", headers={"Host": "evil.example"})
    assert found.status_code == 421


def test_a_body_that_is_too_large_is_refused(page):
    url = f"{page.url}/playground/gradio_api/queue/join"
    assert httpx.post(url, content=b"x" * (1 << 21)).status_code == 413


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "Give --api-keys FILE"),
        (["--max-wordings", "1"], "Give 2 or more"),
        (["--port", "70000"], "--port 70000"),
        (["--method", "nope"], "Unknown method"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(arguments, said, capsys, monkeypatch):
    monkeypatch.delenv("SELF_ENSEMBLE_API_KEYS", raising=False)
    assert main(["playground", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_everything_else_does_without_gradio():
    code = (
        "import sys; sys.modules['gradio'] = None; import self_ensemble.integrations.serve, "
        "self_ensemble.cli.main as m; print(m.main(['playground']))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.stdout == "2\n", found.stderr
    assert 'pip install "self-ensemble[playground]"' in found.stderr

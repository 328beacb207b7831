"""The command: what it refuses, and how a process ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from self_ensemble.cli.main import main

BLOCKED = "import sys; sys.modules.update(dict.fromkeys({blocked!r})); "
# Of other extras and of development.
OTHERS = (
    "ray", "datasets", "matplotlib", "spacy", "icu4py", "pandas", "statsmodels", "hypothesis",
    "openai", "httpx", "schemathesis", "gradio", "openvino",
)  # fmt: skip
OWN = ("fastapi", "starlette", "uvicorn", "prometheus_client")


def python(code: str, blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=blocked) + code],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_server_needs_its_own_extra_and_no_other():
    code = "import self_ensemble.integrations.serve as s, self_ensemble.serving.listening"
    found = python(f"{code}; print(s.create_app.__name__)", OTHERS)
    assert (found.stdout, found.returncode) == ("create_app\n", 0), found.stderr


def test_everything_else_does_without_it():
    code = "import self_ensemble.cli.main as m, self_ensemble.ensemble; print(m.main(['serve']))"
    found = python(code, OWN)
    assert found.stdout == "2\n", found.stderr
    assert 'pip install "self-ensemble[serve]"' in found.stderr
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "Give --api-keys FILE"),
        (["--api-keys", "/nowhere/keys"], "one a line"),
        (["--max-live", "0"], "Give 1 or more"),
        (["--port", "70000"], "--port 70000"),
        (["--deadline", "nan"], "above 0"),
        (["--method", "nope"], "Unknown method"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(arguments, said, capsys, monkeypatch):
    monkeypatch.delenv("SELF_ENSEMBLE_API_KEYS", raising=False)
    assert main(["serve", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_port_that_is_taken_is_refused_before_the_model_is_loaded(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--model", "no/such_model", "--port", str(port)]) == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_answers_end(tiny_folder, number):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "self_ensemble", "serve", "--model", str(tiny_folder), "--name",
         "tiny", "--port", str(port)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    client = httpx.Client(base_url=url, timeout=100)
    try:
        for _ in range(600):
            try:
                client.get("/healthz")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        answers = {}
        # Greedy: this model then never says its end token, so that all of it runs at once.
        asked = {"model": "tiny", "prompt": ["What?"] * 8, "max_tokens": 400}

        def ask(stream):
            answers[stream] = client.post("/v1/completions", json={**asked, "stream": stream})

        threads = [threading.Thread(target=ask, args=(stream,)) for stream in (False, True)]
        for thread in threads:
            thread.start()
        while "self_ensemble_live 16.0" not in client.get("/metrics").text:
            assert not answers, "one has ended before the other was begun"
            time.sleep(0.01)
        process.send_signal(number)
        for thread in threads:
            thread.join(60)
        assert answers[False].status_code == 200
        ends = [choice["finish_reason"] for choice in answers[False].json()["choices"]]
        assert ends == ["length"] * 8
        assert "error" not in answers[True].text
        assert answers[True].text.endswith("data: [DONE]\n\n")
        _, error = process.communicate(timeout=60)
    finally:
        client.close()
        process.kill()
        process.communicate()
    assert "Traceback" not in error
    assert process.returncode == 128 + number
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")

"""Every script in examples/ runs as it stands, in a folder of its own, and shows what it says."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
RUN = {
    "own_csv.py": ([], r"flex_attention-2 +\d+\.\d% \["),
    "own_rule.py": ([], r"laws kept: True"),
    "n_curve.py": (["6"], r"5 +\d+% +\d+% to +\d+%"),
}
pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.mark.parametrize("name", RUN)
def test_a_script_runs_as_it_stands(tmp_path, name):
    arguments, said = RUN[name]
    assert re.search(said, _output(name, arguments, tmp_path))


def test_a_model_folder_is_asked_or_refused_with_the_reason(tmp_path, tiny_folder):
    said = _output("own_model_folder.py", [str(tiny_folder)], tmp_path)
    assert re.search(r"tiny: [\d,]+ parameters, attention sdpa\nanswer:", said)
    done = _run("own_model_folder.py", [str(tmp_path)], tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_the_client_asks_a_server(tmp_path, server):
    said = _output("server_client.py", [server], tmp_path)
    assert "answer: " in said
    assert re.search(r"agreement: [01]", said)


def test_the_page_of_examples_names_every_script():
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())) == scripts
    assert {*RUN, "own_model_folder.py", "server_client.py"} == scripts


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        pytest.importorskip(package, reason='needs pip install "self-ensemble[serve]"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "self_ensemble", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while True:
        assert process.poll() is None
        try:
            with urlopen(f"{url}/healthz"):
                return
        except OSError:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.2)


def _output(name: str, arguments: list[str], folder: Path) -> str:
    done = _run(name, arguments, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(name: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip

"""The command that docs/scale.md gives for a cluster, submitted to a head on this machine."""

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests.cli.commands import many_question_rows, result, write_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
# Of ray[default]: what the head takes jobs with.
NEEDED = ("ray", "aiohttp", "aiohttp_cors", "grpc", "opencensus", "opentelemetry", "virtualenv")
MISSING = [name for name in NEEDED if find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(
        bool(MISSING), reason=f"needs pip install 'ray[default]' (no {', '.join(MISSING)})"
    ),
    pytest.mark.slow,
]
RAY = (sys.executable, "-m", "ray.scripts.scripts")
PATIENCE_S = 400


def documented() -> list[str]:
    """The command of the page, in words."""
    lines = PAGE.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("    ray job submit"))
    last = next(n for n in range(first, len(lines)) if not lines[n].endswith("\\"))
    return shlex.split(" ".join(line.rstrip("\\") for line in lines[first : last + 1]))


def with_options(command: list[str], **values: object) -> list[str]:
    """A command with other values of options that it has."""
    new = list(command)
    for name, value in values.items():
        new[new.index(f"--{name.replace('_', '-')}") + 1] = str(value)
    return new


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        # The job's shell finds the command where this Python has it.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # A head takes commands of whoever reaches it.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.fixture
def head(environment) -> Iterator[str]:
    """The address of a head of this test alone, which only this machine can reach."""
    port = free_port()
    # Not pytest's folder: names of sockets may have 107 characters.
    folder = tempfile.mkdtemp(prefix="ray-")
    command = [
        *RAY, "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", "0",
        "--dashboard-host", "127.0.0.1", "--dashboard-port", str(port),
        "--dashboard-agent-listen-port", "0", "--temp-dir", folder, "--num-cpus", "3",
        "--object-store-memory", str(128 << 20),
    ]  # fmt: skip
    with open(Path(folder) / "head.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    started = psutil.Process(process.pid)
    try:
        latest = time.monotonic() + PATIENCE_S
        while not answers(port):
            assert process.poll() is None, (Path(folder) / "head.log").read_text()
            assert time.monotonic() < latest, (Path(folder) / "head.log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        # By name of none: other tests have a Ray of their own.
        everything = [*started.children(recursive=True), started]
        process.send_signal(signal.SIGTERM)
        psutil.wait_procs(everything, timeout=15)
        for one in everything:
            if one.is_running():
                one.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_the_documented_command_answers_on_a_cluster(
    head, environment, tmp_path, tiny_folder
) -> None:
    questions = write_rows(tmp_path / "bridges.jsonl", many_question_rows(1))
    command = with_options(
        documented(),
        address=head,
        dataset=questions,
        model=tiny_folder,
        output_dir=tmp_path / "out",
        method="avg",
        workers=2,
    )
    assert command[:3] == ["ray", "job", "submit"]
    more = ["--num-shots", "2", "--num-paraphrases", "3", "--max-new-tokens", "4"]
    done = subprocess.run(
        [*RAY, *command[1:], *more],
        env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Workers: 2." in done.stdout
    found = result(tmp_path / "out", "ensemble_avg-3")
    assert len(found) == 8
    assert found["error"].isna().all()

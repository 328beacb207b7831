"""A run of the command line that starts Ray itself: what a signal and a kill leave."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests.cli.commands import arguments, many_question_rows, result, write_rows

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install ray"),
    pytest.mark.slow,
]


def started(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "self_ensemble", *command],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def children_once_answering(process: subprocess.Popen[str], folder: Path) -> list[psutil.Process]:
    """Everything that a run has started, when its first rows are on disk."""
    latest = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < latest:
        if list(folder.rglob("shard-*.feather")):
            break
        time.sleep(0.01)
    return psutil.Process(process.pid).children(recursive=True)


def test_sigterm_ends_a_run_with_all_that_it_started_and_one_process_goes_on(
    tmp_path, tiny_folder, capsys
) -> None:
    path = write_rows(tmp_path / "bridges.jsonl", many_question_rows(20))
    command = arguments("generate", path, tiny_folder, tmp_path / "out", "--method", "avg")
    process = started([*command, "--workers", "1"])
    children = children_once_answering(process, tmp_path / "out")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "Workers: 1." in err
    assert "Run the same command again to go on." in err
    assert "Traceback" not in err
    assert len(children) >= 3
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [process.name() for process in alive] == []

    from self_ensemble.cli.main import main

    assert main(command) == 0
    assert "Going on after" in capsys.readouterr().err
    assert len(result(tmp_path / "out", "ensemble_avg-3")) == 198


def test_a_run_that_is_killed_leaves_no_process_and_no_temporary_file(
    tmp_path, tiny_folder
) -> None:
    path = write_rows(tmp_path / "bridges.jsonl", many_question_rows(20))
    command = arguments("generate", path, tiny_folder, tmp_path / "out", "--method", "avg")
    process = started([*command, "--workers", "1"])
    children = children_once_answering(process, tmp_path / "out")
    (folder,) = {
        Path(file.path).parents[2]
        for child in children
        for file in child.open_files()
        if "gcs_server" in file.path
    }
    assert folder.name.startswith("se-ray-")
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert [process.name() for process in alive] == []
    latest = time.monotonic() + 5
    while folder.exists() and time.monotonic() < latest:
        time.sleep(0.1)
    assert not folder.exists()


def test_what_is_said_of_workers_without_any_is_refused(tmp_path, capsys) -> None:
    from self_ensemble.cli.main import main

    command = ["generate", "--dataset", "demo", "--ray", "auto"]
    assert main(command) == 2
    assert "--ray is for workers. Give --workers as well" in capsys.readouterr().err


def test_nothing_of_ray_is_imported_without_the_option() -> None:
    code = (
        "import sys; from self_ensemble import Workers, generate; import self_ensemble.cli.main;"
        "sys.exit(any(name == 'ray' or name.startswith('ray.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""A run that is killed at any moment and started again ends as one that was never killed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

PROGRAM = Path(__file__).with_name("killed_run.py")
NUM_QUESTIONS = 60
BATCH = 3
MAX_KILLS = 20


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def finish(*arguments: object) -> str:
    with start(*arguments) as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def test_a_run_killed_at_random_moments_ends_as_an_uninterrupted_one(tmp_path):
    whole = tmp_path / "whole" / "result.feather"
    finish("run", whole, tmp_path / "whole.log", NUM_QUESTIONS, 0)

    path, log = tmp_path / "killed" / "result.feather", tmp_path / "killed.log"
    moments = random.Random(0)
    num_kills = 0
    while num_kills < MAX_KILLS:
        with start("run", path, log, NUM_QUESTIONS, 0.01) as process:
            assert process.stdout.readline() == "open\n"
            time.sleep(moments.uniform(0, 0.06))
            process.kill()
        if process.returncode == 0:
            break
        num_kills += 1
    finish("run", path, log, NUM_QUESTIONS, 0)

    assert num_kills >= 3
    assert path.read_bytes() == whole.read_bytes()
    frame = pd.read_feather(path)
    expected = [(f"q{number}", index) for number in range(NUM_QUESTIONS) for index in (0, 1)]
    assert list(zip(frame["uuid"], frame["paraphrase_index"], strict=True)) == expected
    num_batches = len(log.read_text().splitlines())
    # A kill costs the batch in work and no other.
    assert num_batches <= NUM_QUESTIONS // BATCH + num_kills
    assert [file.name for file in path.parent.iterdir()] == ["result.feather"]


@pytest.mark.parametrize("way", ["begin", "overwrite"])
def test_a_kill_before_any_file_operation_leaves_what_can_be_gone_on_with(tmp_path, way):
    whole = tmp_path / "whole" / "result.feather"
    finish("run", whole, tmp_path / "whole.log", 6, 0)

    output = finish("sweep", tmp_path / "sweep", 6, way)

    num_kills = int(output.split("kills: ")[1])
    assert num_kills > 20
    for step in range(1, num_kills + 2):
        path = tmp_path / "sweep" / str(step) / "result.feather"
        assert path.read_bytes() == whole.read_bytes(), step
        assert [file.name for file in path.parent.iterdir()] == ["result.feather"], step
    refusals = [
        line for line in output.splitlines() if line not in ("open", f"kills: {num_kills}")
    ]
    # Before an overwriting run has deleted all of the old one, its options are still known.
    assert all(line.startswith("num_paraphrases was 3, now 5: ") for line in refusals)
    assert bool(refusals) == (way == "overwrite")


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    path, log = tmp_path / "results" / "result.feather", tmp_path / "log"
    with start("run", path, log, NUM_QUESTIONS, 30) as holder:
        assert holder.stdout.readline() == "open\n"
        second = subprocess.run(
            [sys.executable, str(PROGRAM), "run", str(path), str(log), "6", "0"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        holder.send_signal(signal.SIGKILL)

    assert f"UserError: Process {holder.pid} on " in second.stderr
    assert (path.parent / ".result.lock").exists()
    finish("run", path, log, NUM_QUESTIONS, 0)

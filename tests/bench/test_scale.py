"""GPUs that sleep give rows that a driver takes for real ones."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.sleeping import CHOICE, SleepingRows, methods_of, sleeping_questions
from self_ensemble.running.rows import row_plan

ROOT = Path(__file__).resolve().parents[2]


def test_rows_of_a_gpu_that_sleeps_are_those_of_a_result() -> None:
    asked = sleeping_questions(203)
    methods = methods_of(11)
    made = SleepingRows().make(asked.questions, [method.name for method in methods])
    for method in methods:
        plan = row_plan(method, asked, CHOICE)
        assert plan.fault_of_whole(made.files[method.name].table) is None
    assert {len(made.files[method.name].table) for method in methods} == {203, 5 * 203}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install ray")
def test_a_small_simulation_measures_and_draws(tmp_path) -> None:
    command = [
        sys.executable, "-m", "benchmarks.scale", "--gpus", "1,3", "--methods", "2",
        "--batch-sizes", "4", "--rate", "80", "--seconds", "0.5", "--processes", "1",
        "--folder", str(tmp_path), "--plot", str(tmp_path / "scale.png"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout.splitlines()[-1])["points"]
    assert [one["offered"] for one in points] == [80, 240]
    assert all(one["reached"] > 0 for one in points)
    # A shard of a batch for each method.
    assert all(one["shards"] % 2 == 0 for one in points)
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["scale.png"]

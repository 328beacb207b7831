"""Command lines that tests give, the files that they read and write, and runs that are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

NUM_QUESTIONS = 10


def question_rows() -> list[dict[str, object]]:
    """Ten questions in three wordings with weights."""
    return [
        {
            "uuid": f"q{n}",
            "question": f"Who built bridge number {n}?",
            "paraphrases": [f"Bridge {n} was built by whom?", f"Name the builder of bridge {n}?"],
            "answers": ["Paris"],
            "trust": [0.5, 0.2 + n / 10, 0.1],
        }
        for n in range(NUM_QUESTIONS)
    ]


def many_question_rows(times: int) -> list[dict[str, object]]:
    """The ten questions so many times, with uuids and texts of their own."""
    rows = [row | {"uuid": f"{n}-{row['uuid']}"} for n in range(times) for row in question_rows()]
    return [row | {"question": f"{row['question']} ({n})"} for n, row in enumerate(rows)]


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def arguments(command: str, questions: Path, model: Path, output: Path, *more: str) -> list[str]:
    """A command that asks the questions that are no examples, in their three wordings."""
    return [
        command, "--dataset", str(questions), "--model", str(model), "--output-dir", str(output),
        "--num-shots", "2", "--num-paraphrases", "3", "--max-new-tokens", "4",
        "--batch-size", "3", *more,
    ]  # fmt: skip


def result_path(output: Path, name: str) -> Path:
    return output / "bridges" / "tiny" / f"{name}.feather"


def result(output: Path, name: str) -> pd.DataFrame:
    return pd.read_feather(result_path(output, name))


def interrupt(command: list[str], folder: Path, number: int, num_shards: int = 3) -> None:
    """Run a command in a process of its own and stop it when so many shards are in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "self_ensemble", *command],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    latest = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < latest:
        if len(list(folder.rglob("shard-*.feather"))) >= num_shards:
            break
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert ("again to go on" in err) == (number != signal.SIGKILL)

"""A run of a tiny model with a rule of the user's, that is stopped after its first batch."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

# Imported here, so that forks find them loaded.
from self_ensemble.cli.main import main
from self_ensemble.jobs import confidence, generate  # noqa: F401
from tests.conftest import _config, _tokenizer
from tests.faults.commands import Ended, left_in, run_forked

NUM_QUESTIONS = 8
RULE = """
import torch

import own_tables
from own_helpers.scaling import scale

SHARPNESS = 2.0


def mine(logits, weights):
    return scale(logits).mean(dim=-2) * SHARPNESS + own_tables.OFFSET[0]
"""
HELPERS = {
    "own_helpers/__init__.py": "",
    "own_helpers/scaling.py": "FACTOR = 1.5\n\n\ndef scale(x):\n    return x * FACTOR\n",
    "own_tables.py": "import json\nfrom pathlib import Path\n\n"
    "OFFSET = json.loads(Path(__file__).with_name('offset.json').read_text())\n",
    "offset.json": "[0.0]\n",
}
_PLACE = tempfile.TemporaryDirectory(prefix="changes-")


def arguments(place: Path, command: str) -> list[str]:
    asking = [
        command, "--dataset", str(place / "bridges.jsonl"), "--model", str(place / "tiny"),
        "--paraphrases", str(place / "wordings.jsonl"), "--num-shots", "1", "--batch-size", "3",
        "--num-paraphrases", "2", "--max-new-tokens", "3", "--chat-template", "on", "--json",
        "--output-dir", str(place / "out"),
    ]  # fmt: skip
    if command == "generate":
        asking += ["--method", "own_rule:mine,flex_attention,weighted_avg"]
        return [*asking, "--weights", str(place / "trust.jsonl")]
    return [*asking, "--estimator", "logprob,sampling", "--num-samples", "4"]


@cache
def base(command: str) -> Path:
    """A place with all that a run needs, and the first half of one among its results."""
    place = Path(_PLACE.name) / command
    tokenizer = _tokenizer(adds_bos=False)
    torch.manual_seed(0)
    config = _config("llama", 2, 1, None, tokenizer)
    AutoModelForCausalLM.from_config(config).save_pretrained(place / "tiny")
    tokenizer.save_pretrained(place / "tiny")
    rows = [{"uuid": f"q{n}", "question": f"Who built bridge {n}?"} for n in range(NUM_QUESTIONS)]
    write_rows(place / "bridges.jsonl", [row | {"answers": ["Paris"]} for row in rows])
    write_rows(
        place / "wordings.jsonl",
        [row | {"paraphrases": [f"Bridge {n} was built by?"]} for n, row in enumerate(rows)],
    )
    write_rows(
        place / "trust.jsonl",
        [{"uuid": f"q{n}", "weights": [0.5, 0.1 * n + 0.1]} for n in range(NUM_QUESTIONS)],
    )
    (place / "rules" / "own_helpers").mkdir(parents=True)
    for name, content in {"own_rule.py": RULE, **HELPERS}.items():
        (place / "rules" / name).write_text(content)
    stopped = run(place, command, before=stop_after_a_batch)
    assert stopped.code == 130, stopped
    return place


@cache
def expected(command: str) -> dict[str, object]:
    """What an undisturbed run leaves."""
    place = Path(shutil.copytree(base(command), f"{base(command)}-whole"))
    shutil.rmtree(place / "out")
    whole = run(place, command)
    assert whole.code == 0, whole
    return left_in(place / "out")


def run(
    place: Path, command: str, *more: str, before: Callable[[], object] = lambda: None
) -> Ended:
    def begin() -> None:
        # Modules are small and changed within a second, which bytecode files would not notice.
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(place / "rules"))
        before()

    return run_forked(lambda: main([*arguments(place, command), *more]), place, begin)


def stop_after_a_batch() -> None:
    """Send this process the signal of Ctrl-C once a first shard is there."""

    def notice(event: str, details: tuple[Any, ...]) -> None:
        if event == "os.rename" and "shard-" in os.fspath(details[1]):
            signal.raise_signal(signal.SIGINT)

    sys.addaudithook(notice)


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

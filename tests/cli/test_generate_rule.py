"""A run with a rule of the user's own goes on only with the same rule."""

import sys

import pytest

from self_ensemble.cli.main import main
from tests.cli.commands import arguments

RULE = """
import threading

import own_helper

SCALE = 2.0
LOCK = threading.Lock()


def mine(logits, weights):
    return own_helper.middle(logits) * SCALE


def locked(logits, weights):
    with LOCK:
        return mine(logits, weights)
"""
HELPER = "def middle(logits):\n    return logits.median(dim=-2).values\n"


@pytest.fixture
def generate(questions, tiny_folder, tmp_path, monkeypatch):
    """Runs `generate` with the rule as it is on the disk then."""
    (tmp_path / "own_rule.py").write_text(RULE)
    (tmp_path / "own_helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(tmp_path)
    # What is changed within a second at the same size would be taken from bytecode files.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(rule: str) -> int:
        for name in ("own_rule", "own_helper"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return main(
            arguments("generate", questions, tiny_folder, tmp_path, "--method", f"own_rule:{rule}")
        )

    return run


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        (
            "own_rule.py",
            "SCALE = 2.0",
            "SCALE = 3.0",
            "rule.values.constants.SCALE was 2.0, now 3.0",
        ),
        ("own_rule.py", "SCALE = 2.0", "SCALE = 2.0  # why", "rule.modules.own_rule was xxh3:"),
        ("own_helper.py", "median", "max", "rule.modules.own_helper was xxh3:"),
    ],
)
def test_a_changed_rule_is_refused_by_name(generate, tmp_path, capsys, file, old, new, named):
    assert generate("mine") == 0
    assert generate("mine") == 0
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(old, new))
    assert generate("mine") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert named in message
    assert "--overwrite" in message


def test_a_rule_that_cannot_be_compared_is_not_gone_on_with(generate, capsys):
    assert generate("locked") == 0
    assert generate("locked") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "rule.values.constants.LOCK was not comparable (lock; " in message

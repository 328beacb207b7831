"""The lock alone; that a killed process loses it is in test_killed_run.py."""

import subprocess
import sys

import pytest

from self_ensemble.errors import UserError
from self_ensemble.results.lock import FileLock

# Takes and gives back the lock many times; while it holds it, a file must be its own to make.
CONTENDER = """
import os, sys
from pathlib import Path
from self_ensemble.errors import UserError
from self_ensemble.results.lock import FileLock

lock_path, alone_path = Path(sys.argv[1]), Path(sys.argv[2])
num_held = 0
while num_held < 2000:
    try:
        lock = FileLock.acquire(lock_path)
    except UserError:
        continue
    alone_path.touch(exist_ok=False)
    alone_path.unlink()
    lock.close()
    num_held += 1
"""


def test_processes_that_take_and_delete_the_lock_file_never_hold_it_together(tmp_path):
    command = [sys.executable, "-c", CONTENDER, str(tmp_path / "lock"), str(tmp_path / "alone")]
    contenders = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [contender.communicate(timeout=120)[1] for contender in contenders]
    assert errors == ["", "", ""]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_left_behind_locks_nothing(tmp_path):
    path = tmp_path / "lock"
    path.write_text("Process 1 on a machine that was switched off, and a longer text than ours")
    lock = FileLock.acquire(path)
    assert path.read_text().startswith("Process ")
    assert "switched off" not in path.read_text()
    with pytest.raises(UserError, match=r"Wait until it ends"):
        FileLock.acquire(path)
    lock.close()
    assert not path.exists()

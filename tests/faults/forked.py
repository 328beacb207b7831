"""Command lines in a forked child: libraries are imported once, and a hang or a crash is seen."""

import contextlib
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import Fault, Verdict

LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code; minus the signal's number where one killed it; None for a hang.
        err: What it wrote to standard error.
    """

    code: int | None
    err: str

    @property
    def in_one_line(self) -> bool:
        """Whether it was refused as it should be."""
        lines = self.err.splitlines()
        return self.code == 2 and sum(line.startswith("Error: ") for line in lines) == 1


def run_forked(arguments: list[str], folder: Path, limit_s: float = LIMIT_S) -> Ended:
    """Run a command line in a child that has a folder of its own to work in."""
    from self_ensemble.cli.main import main

    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _become(main, arguments, folder, err.fileno())
        code = _wait(child, limit_s)
        err.seek(0)
        return Ended(code, err.read().decode(errors="backslashreplace"))


def _become(main, arguments: list[str], folder: Path, err: int) -> None:
    code = 99
    try:
        os.chdir(folder)
        os.dup2(err, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        # A test's own capture, where there is one, is the parent's.
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")
        code = main(arguments)
    except SystemExit as error:
        os.write(2, f"SystemExit {error.code}\n".encode())
    except BaseException:  # noqa: BLE001 - shown to the parent
        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _wait(child: int, limit_s: float) -> int | None:
    latest = time.monotonic() + limit_s
    while time.monotonic() < latest:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def judged(what: str, ended: Ended) -> Fault:
    """Refused in one line or done is survived; all else is a defect."""
    if ended.in_one_line or ended.code in (0, 3):
        return Fault(what, Verdict.SURVIVED)
    return Fault(what, Verdict.TRACEBACK, f"exit code {ended.code}: {ended.err[-1500:]}")

"""One engine in a process of its own, on all cores or pinned to one: both ends of the pipe.

Engines bring thread pools and OpenMP libraries of their own, which get into each other's way in
one process, and the seconds of one thread can be told only where there is no other.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.engines.asking import Ask
from benchmarks.engines.lines import LINES, WAITING
from self_ensemble.errors import UserError

# The longest that one column of a slow engine may take, on a machine that is busy.
PATIENCE_S = 600


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered column.

    Attributes:
        wall_s: Seconds.
        cpu_s: Seconds of the process on all its threads.
        rows: The new tokens, see `Engine.answer`.
    """

    wall_s: float
    cpu_s: float
    rows: tuple[tuple[int, ...], ...]


class Running:
    """A line that runs in its own process."""

    def __init__(self, name: str, model: str, core: int | None) -> None:
        """Start it and load its model.

        Args:
            name: The line's.
            model: The model's.
            core: Where it is pinned to, with one thread; None for all cores.

        Raises:
            UserError: It cannot be loaded.
        """
        self.name = name
        self._connection, theirs = Pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        unset = ("GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
        environment = {key: text for key, text in os.environ.items() if key not in unset}
        environment |= WAITING
        if core is not None:
            environment["OMP_NUM_THREADS"] = "1"
        command = [sys.executable, "-m", "benchmarks.engines.process"]
        self._process = subprocess.Popen(
            [*command, str(theirs.fileno()), name, model, "" if core is None else str(core)],
            env=environment, pass_fds=(theirs.fileno(),), stdout=self._log, stderr=self._log,
        )  # fmt: skip
        theirs.close()
        try:
            self._call(None)
        except BaseException:
            self.close()
            raise

    def ask(self, ask: Ask) -> Asked:
        """Answer one column; the prefix is warmed outside the clock.

        Raises:
            UserError: The process is gone, or answers with too few tokens.
        """
        found: Asked = self._call(("ask", ask))
        lengths = {len(row) for row in found.rows}
        if lengths != {ask.new_tokens}:
            raise UserError(
                f"{self.name} answered {ask.column} with {sorted(lengths)} tokens, "
                f"not {ask.new_tokens}.",
                "SE-1101",
            )
        return found

    def ties(self, what: str, ask: Ask, rows: Sequence[Sequence[int]]) -> int:
        """See `Transformers.ties`."""
        found: int = self._call(("ties", what, ask, rows))
        return found

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _call(self, message: object) -> Any:
        try:
            if message is not None:
                self._connection.send(message)
            if not self._connection.poll(PATIENCE_S):
                self._process.kill()
                raise UserError(f"{self.name} has not answered for {PATIENCE_S} s.", "SE-1101")
            found = self._connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            self._log.seek(0)
            last = self._log.read().decode(errors="replace").split("\n")[-4:]
            raise UserError(
                f"{self.name} ended with exit code {code}: {' '.join(last).strip()[-300:]}",
                "SE-1101",
            ) from None
        if isinstance(found, UserError):
            raise UserError(f"{self.name}: {found}", "SE-1101")
        return found


def serve(connection: Connection, name: str, model: str, core: int | None) -> None:
    """The other end: load, then answer until nobody asks any more."""
    cores = len(os.sched_getaffinity(0))
    if core is not None:
        # Before any library counts cores.
        os.sched_setaffinity(0, {core})
    try:
        engine: Any = LINES[name].load(model, 1 if core is not None else cores)
        connection.send(True)
        while True:
            connection.send(_answer(engine, connection.recv()))
    except UserError as error:
        connection.send(error)
    except EOFError:
        pass


def _answer(engine: Any, message: Any) -> object:
    kind, *given = message
    if kind == "ties":
        return engine.ties(*given)
    (ask,) = given
    engine.warm(ask)
    cpu, wall = time.process_time(), time.perf_counter()
    rows = engine.answer(ask)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Asked(wall, cpu, tuple(tuple(map(int, row)) for row in rows))


if __name__ == "__main__":
    # Under its own name: what goes through the pipe is known by it.
    from benchmarks.engines import process

    descriptor, line, model_name, pinned = sys.argv[1:]
    process.serve(Connection(int(descriptor)), line, model_name, int(pinned) if pinned else None)

"""What the commands print while they run and where: progress, messages, tables."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:  # they import torch, which `analyze` does without
    from self_ensemble.models.load import LoadedModel
    from self_ensemble.running.batches import BatchProgress

# Weights whose digest takes more than a moment.
LARGE_BYTES = 1 << 30
# Where there is no terminal.
TELL_EVERY_S = 60.0


class ConsoleProgress:
    """A job's progress on standard error; beside a JSON line only warnings and JSON lines."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(stderr=True, quiet=as_json, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line)

    def warn(self, line: str) -> None:
        """Print a line, beside a JSON line as well."""
        typer.echo(line, err=True)

    @contextmanager
    def loading(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A line that goes when it is loaded."""
        with self.console.status(f"Loading {what} ...") as status:

            def on_bytes(done: int, total: int) -> None:
                if total >= LARGE_BYTES:
                    status.update(
                        f"Reading the weights of {what} for their digest, once: "
                        f"{done / 1e9:.1f} of {total / 1e9:.1f} GB ..."
                    )
                    if done == total:
                        status.update(f"Loading {what} ...")

            yield on_bytes

    def loaded(self, model: "LoadedModel") -> None:
        """Several devices are shown as a table."""
        from self_ensemble.models.devices import device_table, layer_devices

        devices = layer_devices(model.model)
        if len(devices) > 1:
            self.console.print(device_table(devices))

    @contextmanager
    def working(
        self, doing: str, total: int, done: int
    ) -> Iterator[Callable[["BatchProgress"], None]]:
        """A bar on a terminal; in a log a line a minute, beside a JSON line as JSON."""
        is_terminal = self.console.is_terminal and not self.as_json
        bar = Progress(
            TextColumn(doing), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
            console=self.console, disable=not is_terminal,
        )  # fmt: skip
        with bar:
            task = bar.add_task(doing, total=total, completed=done, rate="")
            pace = Pace(doing, total, done)
            told = time.perf_counter()

            def on_batch(batch: "BatchProgress") -> None:
                nonlocal told
                pace.add(batch)
                bar.update(task, advance=batch.num_questions, rate=pace.rate)
                now = time.perf_counter()
                if not is_terminal and now - told >= TELL_EVERY_S:
                    told = now
                    typer.echo(json.dumps(pace.fields) if self.as_json else pace.line, err=True)

            yield on_batch


@dataclass(slots=True)
class Pace:
    """How many questions are done, and how fast that goes."""

    doing: str
    total: int
    done: int
    num_workers: int = 0
    _done_now: int = 0
    _started: float = field(default_factory=time.perf_counter)

    def add(self, batch: "BatchProgress") -> None:
        """Count a batch."""
        self.done += batch.num_questions
        self._done_now += batch.num_questions
        self.num_workers = batch.num_workers

    @property
    def fields(self) -> dict[str, object]:
        """For machines."""
        per_second = self._per_second
        return {
            "doing": self.doing,
            "done": self.done,
            "total": self.total,
            "workers": self.num_workers,
            "questions_per_second": round(per_second, 3),
            "seconds_left": round((self.total - self.done) / per_second),
        }

    @property
    def rate(self) -> str:
        """Questions a second, and by how many workers."""
        workers = f", {count(self.num_workers, 'worker')}" if self.num_workers else ""
        return f"{self._per_second:.1f} questions/s{workers}"

    @property
    def line(self) -> str:
        """For a log."""
        left = timedelta(seconds=round((self.total - self.done) / self._per_second))
        return (
            f"{self.doing}: {self.done:,} of {count(self.total, 'question')}, {self.rate}, "
            f"{left} left"
        )

    @property
    def _per_second(self) -> float:
        return self._done_now / (time.perf_counter() - self._started)


def page_console() -> Console:
    """Where tables go. A file or a pipe has no width; rich would assume 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"

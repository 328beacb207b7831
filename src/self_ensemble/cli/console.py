"""What the commands print while they run and where: progress, messages, tables."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class ConsoleProgress:
    """A job's progress on standard error; nothing but warnings beside a JSON line."""

    def __init__(self, *, as_json: bool = False) -> None:
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
        """A bar on a terminal, nothing elsewhere."""
        bar = Progress(
            TextColumn(doing), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
            console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        with bar:
            task = bar.add_task(doing, total=total, completed=done, rate="")
            started, finished = time.perf_counter(), 0

            def on_batch(batch: "BatchProgress") -> None:
                nonlocal finished
                finished += batch.num_questions
                rate = finished / (time.perf_counter() - started)
                bar.update(task, advance=batch.num_questions, rate=f"{rate:.1f} questions/s")

            yield on_batch


def page_console() -> Console:
    """Where tables go. A file or a pipe has no width; rich would assume 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

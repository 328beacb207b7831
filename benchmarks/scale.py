"""How many GPUs one driver can feed: workers that sleep, and everything else as in a run.

    python -m benchmarks.scale                       # or `make scale`, which also draws
    python -m benchmarks.scale --gpus 2,4 --seconds 1

The driver is the real one: it hands out batches, takes rows in and puts shards on disk, with their
checksums and fsync. What is not there is a network, and GPUs. Both ends share this machine: where
its processors are busy, more of them would do more.

The last line of the output is one JSON document with all numbers.
"""

import argparse
import datetime
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.facts import commit, hardware, versions
from benchmarks.sleeping import CHOICE, methods_of, sleeping_questions
from self_ensemble.errors import UserError
from self_ensemble.jobs.recipe import Task
from self_ensemble.jobs.workers.batch_queue import BatchQueue
from self_ensemble.jobs.workers.cluster import ONE_MACHINE
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.shards import list_shards, run_folder
from self_ensemble.results.store import ResultFile
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.finite_rows import held_back
from self_ensemble.running.making import BatchRows, Order, append_rows
from self_ensemble.running.rows import row_plan

# Rows of all GPUs on their way; those of a run's own Ray are fewer.
STORE_BYTES = 2 << 30
# How many questions are made up; a driver that takes in more is through earlier.
MOST_PER_S = 60_000
WARM_UP_S = 1.0
# A driver that is offered so many times what it takes in is not offered more.
LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Point:
    """What is measured: so many GPUs, each so fast."""

    gpus: int
    methods: int
    batch_size: int
    questions_per_s_of_gpu: float


@dataclass(frozen=True, slots=True)
class Reached:
    """What a driver took in.

    Attributes:
        point: Of what.
        offered: Questions/s that the GPUs give.
        reached: Questions/s that came to the disk.
        driver_cpu: Processors that the driver took.
        writing: Share of the time in which it put rows on disk.
        machine_cpu: Share of all processors that were busy, the sleeping machines included.
        bytes_per_question: On disk, shards.
        shards: Files that were written.
    """

    point: Point
    offered: float
    reached: float
    driver_cpu: float
    writing: float
    machine_cpu: float
    bytes_per_question: float
    shards: int

    @property
    def share(self) -> float:
        """Of what is offered."""
        return self.reached / self.offered


class _Enough(Exception):  # noqa: N818
    """The time is up."""


@dataclass(slots=True)
class _Meter:
    """Counts from the end of the warm-up on: when as many batches are there as there are GPUs."""

    seconds: float
    num_gpus: int
    _batches: int = 0
    _put_s: float = 0.0
    _questions: int = 0
    _since: float | None = None
    _began: float = field(default_factory=time.perf_counter)
    _cpu: float = 0.0

    def put(self, put: "partial[None]", rows: Sequence[BatchRows]) -> None:
        started = time.perf_counter()
        put(rows)
        self._put_s += time.perf_counter() - started

    def on_batch(self, done: BatchProgress) -> None:
        now = time.perf_counter()
        self._batches += 1
        if self._since is None:
            if now - self._began >= WARM_UP_S and self._batches >= self.num_gpus:
                self._since, self._put_s, self._cpu = now, 0.0, time.process_time()
                psutil.cpu_percent()
            return
        self._questions += done.num_questions
        if now - self._since >= self.seconds:
            raise _Enough

    def reached(self, point: Point, files: list[ResultFile]) -> Reached:
        assert self._since is not None, "over before the warm-up"
        spent = time.perf_counter() - self._since
        cpu, machine = time.process_time() - self._cpu, psutil.cpu_percent() / 100
        shards = [shard for file in files for shard in list_shards(run_folder(file.path))]
        return Reached(
            point,
            offered=point.gpus * point.questions_per_s_of_gpu,
            reached=self._questions / spent,
            driver_cpu=cpu / spent,
            writing=self._put_s / spent,
            machine_cpu=machine,
            bytes_per_question=sum(shard.stat().st_size for shard in shards) / len(files[0].done),
            shards=len(shards),
        )


def measure(point: Point, seconds: float, machines: Sequence[Any], folder: Path) -> Reached:
    """Run a driver for some seconds; Ray is there, and machines that hold the GPUs."""
    from benchmarks.sleeping_pool import SleepingPool
    from self_ensemble.jobs.workers.driving import Drive, first_ready

    rate = point.questions_per_s_of_gpu
    per_s = min(point.gpus * rate, MOST_PER_S)
    # One batch of each GPU to warm up, and two on their way when the time is up.
    num_questions = int(per_s * (WARM_UP_S + seconds + 1)) + 4 * point.gpus * point.batch_size
    question_set = sleeping_questions(num_questions)
    methods = methods_of(point.methods)
    meter = _Meter(seconds, point.gpus)
    with ExitStack() as closing:
        files = {
            method.name: closing.enter_context(
                ResultFile.open(
                    folder / f"{method.name}.feather",
                    Manifest({"method": method.name}),
                    row_plan(method, question_set, CHOICE),
                )
            )
            for method in methods
        }
        put = partial(append_rows, files=held_back(files, num_questions))
        pool = SleepingPool(machines, point.gpus)
        first_ready(pool)
        drive = Drive(
            pool,
            Task(Order(tuple(files)), partial(meter.put, put), point.batch_size),
            BatchQueue(question_set.questions, point.batch_size),
            accept=lambda ready: None,
            on_batch=meter.on_batch,
            on_shrink=lambda size, smaller: None,
        )
        # The questions may end before the time does.
        with suppress(_Enough):
            drive.run()
        return meter.reached(point, list(files.values()))


@contextmanager
def ray_here() -> Iterator[None]:
    """A Ray that only this machine can reach."""
    os.environ.update(ONE_MACHINE)
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "This needs Ray. Run: pip install 'self-ensemble[ray]'", "SE-1101"
        ) from error
    assert ray.util.get_node_ip_address() == "127.0.0.1", "Ray was imported too early"
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
    )
    try:
        yield
    finally:
        ray.shutdown()


def view(found: list[Reached]) -> Table:
    """The numbers for people."""
    table = Table(box=None, header_style="bold")
    for name in (
        "methods", "batch", "GPUs", "offered q/s", "reached q/s", "share",
        "driver CPU", "writing", "machine CPU", "bytes/q", "shards",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            f"{one.point.methods}", f"{one.point.batch_size}", f"{one.point.gpus}",
            f"{one.offered:,.0f}", f"{one.reached:,.0f}", f"{one.share:.0%}",
            f"{one.driver_cpu:.0%}", f"{one.writing:.0%}", f"{one.machine_cpu:.0%}",
            f"{one.bytes_per_question:,.0f}", f"{one.shards:,}",
        )  # fmt: skip
    return table


def main(arguments: list[str]) -> int:
    """Measure, print and draw; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--gpus", type=_numbers, default=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
    parser.add_argument("--methods", type=_numbers, default=[1, 11], help="1 to 11")
    parser.add_argument("--batch-sizes", type=_numbers, default=[64, 256])
    parser.add_argument("--rate", type=float, default=400.0, help="questions/s of one GPU")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each point")
    parser.add_argument("--processes", type=int, default=2, help="that hold the sleeping GPUs")
    parser.add_argument("--folder", type=Path, help="of the disk that is written to")
    parser.add_argument("--plot", type=Path, help="also write a picture (PNG)")
    asked = parser.parse_args(arguments)
    console = Console(stderr=True, width=110)
    found: list[Reached] = []
    try:
        with ray_here():
            from benchmarks.sleeping_pool import start_machines

            machines = start_machines(asked.processes, asked.rate)
            for methods in asked.methods:
                for size in asked.batch_sizes:
                    for gpus in asked.gpus:
                        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                            point = Point(gpus, methods, size, asked.rate)
                            found.append(measure(point, asked.seconds, machines, Path(folder)))
                        console.print(view(found[-1:]))
                        if found[-1].share < LEAST_SHARE:
                            break
        if asked.plot is not None:
            from benchmarks.scale_plot import plot_scale

            plot_scale(asked.plot, found, _footer())
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    Console(width=110).print(view(found))
    sys.stdout.write(json.dumps(_document(found, arguments)) + "\n")
    return 0


def _footer() -> str:
    there = hardware(torch.device("cpu"))
    used = {**versions(), "ray": version("ray"), "pyarrow": version("pyarrow")}
    named = ", ".join(f"{name} {used[name]}" for name in ("self-ensemble", "ray", "pyarrow"))
    return f"{there['cpu']}, {there['cores']} cores for driver and workers; {named}; {commit()}"


def _document(found: list[Reached], arguments: list[str]) -> dict[str, object]:
    return {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.scale", *arguments]),
        "commit": commit(),
        "hardware": hardware(torch.device("cpu")),
        "versions": {**versions(), "ray": version("ray"), "pyarrow": version("pyarrow")},
        "points": [{**asdict(one), "share": one.share} for one in found],
    }


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

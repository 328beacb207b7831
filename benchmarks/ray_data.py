"""Ray Data beside our actors: two workers that answer at once, rows taken in by one process.

    python -m benchmarks.ray_data

Both send the same questions and give the same rows back; neither writes a file. The clock runs
from the first rows to the last ones. The last line of the output is one JSON document.
"""

import datetime
import json
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import torch

from benchmarks.facts import commit, hardware, versions
from benchmarks.scale import ray_here
from benchmarks.sleeping import SleepingRows, methods_of, sleeping_questions
from self_ensemble.jobs.recipe import Task
from self_ensemble.jobs.workers.batch_queue import BatchQueue
from self_ensemble.questions.schema import Question
from self_ensemble.running.making import BatchRows, Order

WORKERS = 2
AT_ONCE = 1e9  # questions/s
QUESTIONS = 20_000
BATCH_SIZES = (16, 64, 256)
REPEATS = 3
METHOD = methods_of(1)[0].name


class AnswersAtOnce:
    """What Ray Data calls with a batch."""

    def __init__(self) -> None:
        self._rows = SleepingRows()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of a batch of questions."""
        questions = [
            Question(row["uuid"], tuple(row["wordings"]), tuple(row["answers"]))
            for row in batch.to_pylist()
        ]
        return self._rows.make(questions, (METHOD,)).files[METHOD].table


@dataclass(slots=True)
class Arrivals:
    """Rows as they come in, counted behind the first ones."""

    num_rows: int = 0
    seconds: float = 0.0
    _first: float | None = None

    def add(self, num_rows: int) -> None:
        """Some rows are there."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
            return
        self.num_rows += num_rows
        self.seconds = now - self._first


def with_ray_data(questions: tuple[Question, ...], batch_size: int, arrivals: Arrivals) -> None:
    """A data set of questions through two actors of Ray Data's."""
    import ray

    items = [
        {"uuid": one.uuid, "wordings": list(one.wordings), "answers": list(one.answers)}
        for one in questions
    ]
    answered: Any = ray.data.from_items(items).map_batches(
        AnswersAtOnce,
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=WORKERS),
        num_cpus=0.5,
    )
    for batch in answered.iter_batches(batch_size=None, batch_format="pyarrow"):
        arrivals.add(len(batch))


def with_actors(questions: tuple[Question, ...], batch_size: int, arrivals: Arrivals) -> None:
    """The driver of a run, with two actors."""
    import ray

    from benchmarks.sleeping_pool import SleepingPool, start_machines
    from self_ensemble.jobs.workers.driving import Drive, first_ready

    def put(made: Sequence[BatchRows]) -> None:
        arrivals.add(sum(len(rows.files[METHOD].table) for rows in made))

    machines = start_machines(WORKERS, AT_ONCE)
    pool = SleepingPool(machines, WORKERS)
    first_ready(pool)
    Drive(
        pool,
        Task(Order((METHOD,)), put, batch_size),
        BatchQueue(questions, batch_size),
        accept=lambda ready: None,
        on_batch=lambda done: None,
        on_shrink=lambda size, smaller: None,
    ).run()
    for machine in machines:
        ray.kill(machine)


def main() -> int:
    """Measure both in turn, and print."""
    found: dict[str, dict[str, list[float]]] = {}
    questions = sleeping_questions(QUESTIONS).questions
    with ray_here():
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        for _ in range(REPEATS):
            for size in BATCH_SIZES:
                for name, way in (("actors", with_actors), ("ray data", with_ray_data)):
                    arrivals = Arrivals()
                    way(questions, size, arrivals)
                    rate = arrivals.num_rows / arrivals.seconds
                    found.setdefault(name, {}).setdefault(str(size), []).append(rate)
                    sys.stderr.write(f"{name}, batches of {size}: {rate:,.0f} rows/s\n")
    for name, by_size in found.items():
        for size_name, rates in by_size.items():
            sys.stdout.write(
                f"{name:9s} {size_name:>4s}: {statistics.median(rates):8,.0f} rows/s "
                f"({min(rates):,.0f} to {max(rates):,.0f})\n"
            )
    document = {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.ray_data"]),
        "commit": commit(),
        "hardware": hardware(torch.device("cpu")),
        "versions": {**versions(), "ray": version("ray"), "pyarrow": version("pyarrow")},
        "questions": QUESTIONS,
        "rows_per_s": found,
    }
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

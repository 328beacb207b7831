"""GPUs that sleep, as the driver knows its workers.

Imports Ray, which reads where it may listen when it is imported.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

import ray

from benchmarks.sleeping import SleepingMachine
from self_ensemble.jobs.workers.pool import Pool

# No two GPUs have one number, of whatever pool, since a machine remembers when each is free.
NUMBERS = count()
MOST_CALLS = 4096


def start_machines(num_machines: int, questions_per_s: float) -> list[Any]:
    """Processes that hold GPUs, each so fast; they end with Ray."""
    machine: Any = ray.remote(SleepingMachine).options(num_cpus=0, max_concurrency=MOST_CALLS)
    return [machine.remote(questions_per_s) for _ in range(num_machines)]


class _Call(NamedTuple):
    method: Any
    gpu: int

    def remote(self, *arguments: object) -> object:
        return self.method.remote(self.gpu, *arguments)


class _Gpu:
    """What a pool takes for an actor."""

    def __init__(self, machine: Any, gpu: int) -> None:
        self.load = _Call(machine.load, gpu)
        self.make = _Call(machine.make, gpu)
        self.__ray_ready__ = machine.__ray_ready__


class SleepingPool(Pool):
    """Workers as the driver knows them, on a few machines that sleep."""

    def __init__(self, machines: Sequence[Any], num_gpus: int) -> None:
        def start() -> _Gpu:
            number = next(NUMBERS)
            return _Gpu(machines[number % len(machines)], number)

        super().__init__(
            start,
            num_gpus,
            max_restarts=0,
            batch_timeout=None,
            look=lambda: None,
            on_wait=lambda number: None,
        )

"""Ray, started on this machine or joined, and what a worker gets of it.

Nothing listens beyond this machine where Ray is started here: the node's address is the
loopback's, and there is no dashboard. All of it goes with this process; see `watchdog`. A Ray that
this process has running already is used as it is.
"""

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from self_ensemble.errors import UserError, first_line
from self_ensemble.jobs.workers.heartbeat import (
    ANSWER_S,
    PATIENCE_CLUSTER_S,
    PATIENCE_HERE_S,
    Address,
    heartbeat,
    within,
)
from self_ensemble.jobs.workers.options import LOCAL, Workers
from self_ensemble.jobs.workers.watchdog import own_folder

# What Ray is told where it is started here; it reads this when it is imported.
ONE_MACHINE = {
    # It puts the network's address in the place of the loopback's, unless there is no network.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Its workers would wait for whatever else the machine does; one process does not.
    "RAY_worker_niceness": "0",
}
# It prints what happens to a node to standard output, where the JSON line goes.
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
KINDS = ("CPU", "GPU")
# Of the object store: batches and rows are small, and two batches of a worker are on their way.
STORE_BYTES = 256 << 20


class Share(NamedTuple):
    """What of a machine a worker has for itself."""

    num_cpus: float
    num_gpus: float

    def __str__(self) -> str:
        return f"{self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs"


class Cluster(NamedTuple):
    """A Ray that runs.

    Attributes:
        share: What each worker gets.
        look: Raises a UserError once it has ended.
        free: Says what it has left.
    """

    share: Share
    look: Callable[[], None]
    free: Callable[[], str]


@contextmanager
def ray_cluster(workers: Workers, num_workers: int, device: str) -> Iterator[Cluster]:
    """Have Ray while the block runs, and end what was started for it.

    Args:
        workers: Where.
        num_workers: How many workers there will be.
        device: As the user named it; "cpu" takes no GPU.

    Raises:
        UserError: Ray is not installed, does not start, cannot be reached, or has fewer GPUs than
            are asked for.
    """
    local = workers.ray == LOCAL
    ray = _imported(local)
    with ExitStack() as closing:
        patience_s = PATIENCE_CLUSTER_S
        with _refusal_if_it_fails(workers.ray):
            if not ray.is_initialized():
                folder = closing.enter_context(own_folder()) if local else None
                if local:
                    patience_s = PATIENCE_HERE_S
                closing.callback(_end, ray)
                with _own_signals():
                    _start(ray, workers, num_workers, folder)
            head, node, resources = within(ANSWER_S, lambda: _seen(ray))
            share = _share(resources.get("GPU", 0.0), workers, num_workers, device, local)
        look = heartbeat(head, node, patience_s)
        yield Cluster(share, look, partial(_free, ray))


@contextmanager
def _refusal_if_it_fails(where: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Ray raises that very class.
        reason = first_line(error)
        if where == LOCAL:
            raise UserError(
                f"Ray does not start on this machine ({reason}). It waits for half a minute, and "
                "a machine that is busy may take longer: run the same command again, or leave "
                "workers out.",
                "SE-0801",
            ) from error
        raise UserError(
            f"Cannot join Ray at {where!r} ({reason}). Give the address of a running head, auto "
            "where one runs on this machine, or local to start Ray here. A head that asks for a "
            "token wants RAY_AUTH_MODE=token and RAY_AUTH_TOKEN in the environment.",
            "SE-0803",
        ) from error


def _end(ray: ModuleType) -> None:
    with _own_signals():
        ray.shutdown()


def _free(ray: ModuleType) -> str:
    there, free = within(ANSWER_S, lambda: (ray.cluster_resources(), ray.available_resources()))
    of_each = [f"{free.get(kind, 0):g} of {there.get(kind, 0):g} {kind}s" for kind in KINDS]
    return f"free are {' and '.join(of_each)}"


def _seen(ray: ModuleType) -> tuple[Address, Address, dict[str, float]]:
    """Where the head and this process's node listen, and what the cluster has."""
    return _head(ray), _node(ray), ray.cluster_resources()


def _head(ray: ModuleType) -> Address:
    """Where the cluster's head listens."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host.strip("[]"), int(port)


def _node(ray: ModuleType) -> Address:
    """Where the node that this process is on listens."""
    here = ray.get_runtime_context().get_node_id()
    (node,) = (node for node in ray.nodes() if node["NodeID"] == here)
    return node["NodeManagerAddress"], node["NodeManagerPort"]


def _imported(local: bool) -> ModuleType:
    for name, value in {**QUIET, **(ONE_MACHINE if local else {})}.items():
        os.environ.setdefault(name, value)
    with _own_signals():
        try:
            import ray
        except ImportError as error:
            raise UserError(
                "Workers need Ray, which is not installed. Install it with "
                "pip install 'self-ensemble[ray]', or leave --workers out.",
                "SE-0015",
            ) from error
    found: ModuleType = ray
    return found


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our handler of SIGTERM: Ray puts one of its own in its place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _start(ray: ModuleType, workers: Workers, num_workers: int, folder: Path | None) -> None:
    if folder is not None:
        if not ip_address(ray.util.get_node_ip_address()).is_loopback:
            raise UserError(
                "Ray was imported before it could be told to listen to this machine alone. Import "
                "it later, set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before, or call ray.init "
                "yourself: a Ray that runs is used as it is.",
                "SE-0801",
            )
        cpus = workers.cpus_per_worker or _cpus_here(num_workers)
        ray.init(
            address="local",
            num_cpus=math.ceil(cpus * num_workers),
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
        return
    ray.init(address=workers.ray, log_to_driver=False, logging_level="ERROR")


def _share(there: float, workers: Workers, num_workers: int, device: str, local: bool) -> Share:
    """What each worker gets, of a cluster with so many GPUs."""
    gpus = workers.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if there and device != "cpu" else 0.0
    # A cluster may grow, this machine does not.
    if local and gpus * num_workers > there:
        raise UserError(
            f"{num_workers} workers with {gpus:g} GPUs each are asked for, and this machine has "
            f"{there:g}. Give fewer --workers, or a smaller --gpus-per-worker.",
            "SE-0802",
        )
    return Share(workers.cpus_per_worker or (_cpus_here(num_workers) if local else 1.0), gpus)


def _cpus_here(num_workers: int) -> float:
    return float(max((os.cpu_count() or 1) // num_workers, 1))

"""Ray that does not start, or ends under a run: one line, and no other end of the process."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from self_ensemble.errors import UserError
from self_ensemble.jobs.workers import heartbeat as heart
from self_ensemble.jobs.workers.cluster import ray_cluster
from self_ensemble.jobs.workers.options import Workers

# Results of this size are put into the store of the node, small ones are not.
LARGE = """
import psutil

from self_ensemble.errors import UserError
from self_ensemble.jobs.workers.batch_queue import Batch
from self_ensemble.jobs.workers.cluster import ray_cluster
from self_ensemble.jobs.workers.options import Workers


class Large:
    def load(self):
        return bytes(10**6)


with ray_cluster(Workers(1, cpus_per_worker=1), 1, "cpu") as cluster:
    import ray

    from self_ensemble.jobs.workers.pool import Pool

    pool = Pool(
        ray.remote(Large).remote,
        1,
        max_restarts=0,
        batch_timeout=None,
        look=cluster.look,
        on_wait=print,
    )
    while not list(pool.landed()):
        pass
    (member,) = pool.members
    pool.submit(member, Batch(()), member.actor.load)
    ray.wait([call for call, _ in member.calls])
    (node,) = (one for one in psutil.Process().children() if one.name() == "raylet")
    node.kill()
    node.wait()
    try:
        print(list(pool.landed()))
    except UserError as error:
        print(error)
"""


@pytest.fixture
def listening() -> Iterator[heart.Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def test_ray_has_ended_when_its_head_takes_no_connection_for_a_while(
    listening, monkeypatch
) -> None:
    monkeypatch.setattr(heart, "EVERY_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        look = heart.heartbeat(("127.0.0.1", port), listening, patience_s=0.3)
        time.sleep(0.4)
        look()
    time.sleep(0.02)
    look()  # it may come back
    with socket.create_server(("127.0.0.1", port)):
        time.sleep(0.4)
        look()
    # As if it had never been gone.
    time.sleep(0.02)
    look()
    time.sleep(0.4)
    with pytest.raises(UserError, match=f"nothing answers at 127.0.0.1:{port} any more"):
        look()


def test_ray_has_ended_as_soon_as_its_node_has(listening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as node:
        port = node.getsockname()[1]
        look = heart.heartbeat(listening, ("127.0.0.1", port), patience_s=99)
        look()
    with pytest.raises(UserError, match=f"nothing answers at 127.0.0.1:{port} any more"):
        look()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install ray")
def test_no_result_is_fetched_from_a_node_that_has_ended() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, check=False
    )
    assert "Ray has ended: nothing answers at" in ended.stdout, ended.stderr
    assert ended.returncode == 0


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("local", r"Ray does not start on this machine \(no time\).*leave workers out"),
        ("10.0.0.1:6379", r"Cannot join Ray at '10.0.0.1:6379' \(no time\).*a running head"),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(where, line, monkeypatch) -> None:
    import ray

    def init(**options: object) -> None:
        raise Exception("no time\nfor this")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match=line), ray_cluster(Workers(1, ray=where), 1, "cpu"):
        pass


def test_a_head_that_never_answers_is_not_waited_for() -> None:
    forever = threading.Event()
    try:
        with pytest.raises(UserError, match=r"its head has not answered for 0\.1 s"):
            heart.within(0.1, forever.wait)
    finally:
        forever.set()
    assert heart.within(5, lambda: "here") == "here"
    with pytest.raises(KeyError):
        heart.within(5, lambda: {}["gone"])

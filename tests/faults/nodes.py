"""A Ray cluster of two nodes on this machine, of which one can be made to leave."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from self_ensemble.jobs.workers.watchdog import end_all

START_S = 60.0


class TwoNodes:
    """A head with room for one worker, and a node with room for another.

    Attributes:
        address: Of the head.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet."""
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port: int = server.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the head, and then the node."""
        self._start(
            "--head", f"--port={self._port}", "--include-dashboard=false",
            f"--temp-dir={self.folder}",
        )  # fmt: skip
        self._node = self._start(f"--address={self.address}")

    def node_leaves(self) -> bool:
        """Kill the node and all that runs on it."""
        family = psutil.Process(self._node.pid).children(recursive=True)
        for process in (*family, psutil.Process(self._node.pid)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._node.wait()
        return True

    def end(self) -> None:
        """Have nothing of it left."""
        end_all(self.folder)
        for node in self._started:
            node.kill()
            node.wait()

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        node = subprocess.Popen(
            ["ray", "start", "--block", "--num-cpus=1", "--disable-usage-stats",
             "--object-store-memory=100000000", *options],
            env=os.environ | {"RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._started.append(node)
        latest = time.monotonic() + START_S
        while not any(_is_raylet(one) for one in psutil.Process(node.pid).children()):
            assert node.poll() is None, "Ray does not start"
            assert time.monotonic() < latest, "Ray does not start"
            time.sleep(0.2)
        return node


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """A cluster that is there while the block runs."""
    nodes = TwoNodes(Path(tempfile.mkdtemp(prefix="n")))
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.end()


def _is_raylet(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.name() == "raylet"
    return False

"""One Ray for all tests of a session: starting it, and torch in each worker, takes long."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from self_ensemble.jobs.workers.cluster import ray_cluster
from self_ensemble.jobs.workers.options import Workers


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray as `--ray local` starts it, with room for eight workers."""
    # Not imported here: what it is told before that decides who can reach it.
    if find_spec("ray") is None:
        pytest.skip("needs pip install ray")
    with pytest.MonkeyPatch.context() as patch:
        # Workers of one thread each, which find the tests' own modules.
        patch.setenv("OMP_NUM_THREADS", "1")
        root = str(Path(__file__).resolve().parents[2])
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        with ray_cluster(Workers(8, cpus_per_worker=1), 8, "cpu"):
            yield

"""Threads that wait for each other give the core up soon, from Python as on the command line."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "spin"),
    [
        ({}, "5000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_importing_the_package_shortens_spinning_unless_the_user_set_it(given, spin) -> None:
    own = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    clean = {name: value for name, value in os.environ.items() if name not in own}
    code = (
        "import self_ensemble, os, sys\n"
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True
    )
    # torch reads it when it is imported, so it must not have been by then.
    assert done.stdout.split() == [spin, "False"]

import os
import subprocess
import sys

import pytest

from self_ensemble.cli.main import main, wait_briefly

COMMANDS = ["demo", "generate", "analyze", "mask", "doctor"]


def test_help_and_import_do_not_load_torch() -> None:
    code = (
        "import sys; import self_ensemble; from self_ensemble.cli.main import main; "
        "main(['--help']); main(['generate', '--help']); "
        "print([name for name in ('torch', 'transformers', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command(capsys) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_an_unknown_command_names_the_nearest(capsys) -> None:
    assert main(["genrate"]) == 2
    assert (
        capsys.readouterr().err == "Error: No such command 'genrate'. Did you mean 'generate'?\n"
    )


@pytest.mark.parametrize(
    ("given", "spin"),
    [
        ({}, "5000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_the_users_own_thread_settings_win(monkeypatch, given, spin) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    # Recorded first, so that what the function sets is undone after the test.
    monkeypatch.setenv("GOMP_SPINCOUNT", os.environ.get("GOMP_SPINCOUNT", ""))
    if not os.environ["GOMP_SPINCOUNT"]:
        del os.environ["GOMP_SPINCOUNT"]
    wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == spin

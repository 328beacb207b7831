import subprocess
import sys

import pytest

from self_ensemble.cli.main import main
from self_ensemble.passes import memory

COMMANDS = ["demo", "generate", "analyze", "mask", "doctor"]


def test_help_and_import_do_not_load_torch() -> None:
    code = (
        "import sys; import self_ensemble; from self_ensemble.cli.main import main; "
        "main(['--help']); main(['generate', '--help']); "
        "print([name for name in ('torch', 'transformers', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_libraries_make_while_they_load_is_not_looked_through_again_and_again(
    long_folder, tmp_path
) -> None:
    options = [
        "generate", "--dataset", "demo", "--max-samples", "1", "--method", "origin",
        "--model", str(long_folder), "--max-new-tokens", "1", "--output-dir", str(tmp_path),
    ]  # fmt: skip
    code = (
        "import atexit, gc, sys; from self_ensemble.__main__ import run; "
        "atexit.register(lambda: print(gc.get_stats()[0]['collections'])); "
        f"sys.argv = ['self-ensemble', *{options!r}]; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # As Python counts by itself more than a thousand, which take a second of a start of eight.
    assert int(done.stdout.splitlines()[-1]) < 200


def test_help_names_every_command(capsys) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_an_unknown_command_names_the_nearest(capsys) -> None:
    assert main(["genrate"]) == 2
    assert (
        capsys.readouterr().err
        == "Error: No such command 'genrate'. Did you mean 'generate'? [SE-0001]\n"
    )


def test_a_command_that_does_not_fit_into_memory_says_so_in_a_line(
    long_folder, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(memory, "ASKED_FROM", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)
    assert main(["bench", "--model", str(long_folder), "--batch-size", "1"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("Error: Out of memory. A pass takes about 0.00 GiB, and 0.00 GiB are")


def test_another_error_at_run_time_is_not_hidden(long_folder, monkeypatch) -> None:
    def broken(num_bytes: int) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr("self_ensemble.passes.batch.check_fits", broken)
    with pytest.raises(RuntimeError, match="something else"):
        main(["bench", "--model", str(long_folder), "--batch-size", "1"])


@pytest.mark.parametrize("where", [0, 1, 3])
def test_debug_shows_where_a_line_came_from(where, capsys) -> None:
    command = ["generate", "--dataset", "no_such.jsonl"]
    assert main(command) == 2
    line = capsys.readouterr().err
    assert main([*command[:where], "--debug", *command[where:]]) == 2
    shown = capsys.readouterr().err
    assert "in load_questions" in shown
    assert shown.endswith(line)


def test_what_a_terminal_would_obey_is_written_out(capsys) -> None:
    assert main(["generate", "--dataset", "no\x1b[31m\n\x07such\u202e.jsonl"]) == 2
    assert capsys.readouterr().err == (
        "Error: no\\x1b[31m \\x07such\\u202e.jsonl does not exist. Check the path. [SE-0101]\n"
    )

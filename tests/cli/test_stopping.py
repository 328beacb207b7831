"""Ctrl-C, SIGTERM and a reader that has had enough: a line at most, whenever they come."""

import signal
import subprocess
import sys

import pytest

# Sends itself a signal when a module is looked for, as if a user were quick.
QUICK_USER = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            for _ in range({times}):
                os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Finder())
from self_ensemble.__main__ import run
run()
"""
LOADED = [
    *("typer", "rich.console", "torch", "transformers.models.auto.modeling_auto"),
    "transformers.models.llama.modeling_llama",  # while the model is read
]


def stopped(module: str, number: int, command: list[str], times: int = 1) -> None:
    program = QUICK_USER.format(module=module, number=int(number), times=times)
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr, done.stdout) == (128 + number, "Error: Stopped.\n", "")


@pytest.mark.parametrize("module", LOADED)
def test_ctrl_c_while_libraries_load_is_one_line(module, questions, tiny_folder, tmp_path) -> None:
    command = ["generate", "--dataset", str(questions), "--model", str(tiny_folder),
               "--num-paraphrases", "1", "--output-dir", str(tmp_path)]  # fmt: skip
    stopped(module, signal.SIGINT, command)


def test_a_second_ctrl_c_at_once_and_sigterm_are_one_line(tmp_path) -> None:
    command = ["generate", "--dataset", "demo", "--output-dir", str(tmp_path)]
    stopped("typer", signal.SIGINT, command, times=2)
    stopped("pyarrow", signal.SIGTERM, command)


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_reader_that_has_had_enough_gets_no_traceback(option) -> None:
    command = [sys.executable, "-m", "self_ensemble", option]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer.stdout.close()
    assert writer.stderr.read() == ""
    writer.stderr.close()
    assert writer.wait() in (1, 128 + signal.SIGPIPE)  # rich gives 1


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "self_ensemble", "--version"],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The system refused something: No space left")
    assert done.stderr.count("\n") == 1


AT_THE_END = """
import atexit
from concurrent.futures import ThreadPoolExecutor
from self_ensemble import __main__

def command():
    global pool
    pool = ThreadPoolExecutor(1)
    pool.submit(print, "said by a thread").result()
    atexit.register(print, "said at the end")
    return 3

__main__._run = command
__main__.run()
"""


def test_a_command_ends_with_its_code_and_what_is_registered_for_the_end() -> None:
    # Its pool's thread waits for work; nobody may wait for that thread.
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "said by a thread\nsaid at the end\n"


def test_a_signal_that_a_command_has_taken_care_of_changes_nothing_of_its_end() -> None:
    swallowed = """    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    return 3"""
    program = "import os, signal, time" + AT_THE_END.replace("    return 3", swallowed)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "said by a thread\nsaid at the end\n"


def test_a_profiler_around_a_command_still_prints_what_it_has_found() -> None:
    command = [sys.executable, "-m", "cProfile", "-m", "self_ensemble", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "function calls" in done.stdout

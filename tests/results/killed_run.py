"""A run to be killed: a small program that makes a result of 2 rows a question.

killed_run.py run PATH LOG NUM_QUESTIONS PAUSE_S      one run; goes on where PATH was left
killed_run.py sweep FOLDER NUM_QUESTIONS begin        for k = 1, 2, ... a run that dies just
killed_run.py sweep FOLDER NUM_QUESTIONS overwrite    before its k-th file operation, then
                                                      another run, in FOLDER/<k>
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from result_rows import MANIFEST, append, open_per_prompt, per_prompt_rows

from self_ensemble.errors import UserError
from self_ensemble.results.manifest import Manifest

BATCH = 3
FILE_EVENTS = ("open", "os.", "fcntl.flock", "shutil.", "tempfile.")
OLD_MANIFEST = Manifest({**MANIFEST.fields, "num_paraphrases": 3})


def say(line: object) -> None:
    print(line, flush=True)  # noqa: T201 - what the tests read


def run(
    path: Path, log: Path, num_questions: int, pause_s: float, overwrite: bool = False
) -> None:
    order = [f"q{number}" for number in range(num_questions)]
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with open_per_prompt(path, order, overwrite=overwrite) as result:
        say("open")
        # Not in the data set's order, as where questions are batched by length.
        todo = [uuid for uuid in sorted(order, reverse=True) if uuid not in result.done]
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            os.write(log_fd, f"{','.join(batch)}\n".encode())
            time.sleep(pause_s)
            append(result, [row for uuid in batch for row in per_prompt_rows(uuid)])
        result.finish()
    os.close(log_fd)


def leave_old_run(path: Path, num_questions: int) -> None:
    """Leave what an unfinished run with other options and other answers leaves."""
    order = [f"q{number}" for number in range(num_questions)]
    with open_per_prompt(path, order, manifest=OLD_MANIFEST) as result:
        for uuid in order:
            rows = per_prompt_rows(uuid)
            append(result, [row | {"generation": "of the old run"} for row in rows])


def die_before_file_operation(step: int) -> None:
    """Let the kernel kill this process just before its `step`-th operation on files."""
    num_operations = 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal num_operations
        if event.startswith(FILE_EVENTS) and event != "os.kill":
            num_operations += 1
            if num_operations == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def in_child(work) -> int:
    """Exit status of `work()` in a forked process; 2 for a UserError, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except UserError as error:
            say(error)
            os._exit(2)
        except BaseException:  # noqa: BLE001 - a child must not run on as its parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def sweep(folder: Path, num_questions: int, overwrite: bool) -> None:
    """Print `kills: <number>` at the end; exits with 1 where a run fails by itself."""
    folder.mkdir()
    old = folder / "old"
    leave_old_run(old / "result.feather", num_questions)
    step = 0
    status = -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += 1
        path = folder / str(step) / "result.feather"
        log = folder / f"{step}.log"

        def killed_run(path: Path = path, log: Path = log, step: int = step) -> None:
            if overwrite:
                shutil.copytree(old, path.parent)
            die_before_file_operation(step)
            run(path, log, num_questions, 0, overwrite)

        status = in_child(killed_run)
        again = in_child(lambda path=path, log=log: run(path, log, num_questions, 0))
        if again == 2 and overwrite:
            # The old run was still there; it has to be there whole, and is overwritten now.
            again = in_child(lambda path=path, log=log: run(path, log, num_questions, 0, True))
        if status not in (0, -signal.SIGKILL) or again != 0:
            sys.exit(1)
    say(f"kills: {step - 1}")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        sweep(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "overwrite")

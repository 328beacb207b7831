"""Filling result files: what is asked again, what is left out, and what is said of it."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch

from self_ensemble.cli.console import ConsoleProgress
from self_ensemble.errors import Stopped, UserError
from self_ensemble.jobs.filling import fill, leave_out_finished
from self_ensemble.questions.schema import Question
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.store import ResultFile
from self_ensemble.running.batches import BatchProgress, Outcome, run_batches

QUESTIONS = tuple(Question(f"q{n}", (f"Who built bridge {n}?",), ("x",)) for n in range(7))
ALL = [question.uuid for question in QUESTIONS]
PLAN = RowPlan(pa.schema([("uuid", pa.string())]), tuple(ALL))
Batch = list[str]


def run(
    paths: Sequence[Path],
    batch_size: int = 2,
    *,
    before_batch: Callable[[Batch], None] = lambda batch: None,
    may_shrink: bool = False,
) -> tuple[list[Batch], Outcome]:
    """Fill files named after their stems; the batches that were put into them, and the end."""
    batches: list[Batch] = []
    progress = ConsoleProgress()
    with ExitStack() as closing:
        files = {
            path.stem: closing.enter_context(ResultFile.open(path, Manifest({}), PLAN))
            for path in paths
        }
        unfinished = leave_out_finished(files, progress)

        def run_batch(batch: Sequence[Question]) -> BatchProgress:
            uuids = [question.uuid for question in batch]
            before_batch(uuids)
            batches.append(uuids)
            for file in unfinished.values():
                file.append(pa.table({"uuid": uuids}, schema=PLAN.schema))
            return BatchProgress(len(batch), 0, 1.0)

        work = partial(
            run_batches, run_batch=run_batch, batch_size=batch_size, may_shrink=may_shrink
        )
        outcome = fill(unfinished.values(), QUESTIONS, work, progress=progress, doing="asking")
    return batches, outcome


def fail_at(uuid: str) -> Callable[[Batch], None]:
    def fail(batch: Batch) -> None:
        if uuid in batch:
            raise UserError("stopped", "SE-0002")

    return fail


def written(path: Path) -> list[str]:
    return list(pd.read_feather(path)["uuid"])


def test_a_run_that_goes_on_does_nothing_twice(tmp_path, capsys) -> None:
    path = tmp_path / "a.feather"
    with pytest.raises(UserError, match="stopped"):
        run([path], before_batch=fail_at("q5"))
    assert capsys.readouterr().err == ""
    assert run([path], 3) == ([["q4", "q5", "q6"]], Outcome(3, 1.0))
    assert capsys.readouterr().err == "Going on after 4 of 7 questions.\n"
    assert written(path) == ALL


def test_a_finished_file_is_named_and_left_out_and_the_others_are_filled(tmp_path, capsys) -> None:
    paths = [tmp_path / f"{name}.feather" for name in "abc"]
    run(paths[1:2])
    assert run(paths, 4)[0] == [ALL[:4], ALL[4:]]
    assert capsys.readouterr().err == "Finished already: b.\n"
    assert [written(path) for path in paths] == [ALL] * 3
    assert run(paths) == ([], Outcome(0, 0.0))
    assert capsys.readouterr().err == "Finished already: a, b, c.\n"


def test_a_question_that_one_of_the_files_lacks_is_asked_for_all_of_them(tmp_path, capsys) -> None:
    paths = [tmp_path / f"{name}.feather" for name in "ab"]
    with pytest.raises(UserError, match="stopped"):
        run(paths[:1], before_batch=fail_at("q5"))
    with pytest.raises(UserError, match="stopped"):
        run(paths[1:], before_batch=fail_at("q3"))
    assert run(paths, 7)[0] == [ALL[2:]]
    assert capsys.readouterr().err == "Going on after 2 of 7 questions.\n"
    assert [written(path) for path in paths] == [ALL] * 2


def test_a_signal_ends_a_run_after_a_whole_batch_and_leaves_the_file_unfinished(
    tmp_path, capsys
) -> None:
    path = tmp_path / "a.feather"

    asked: list[Batch] = []

    def interrupt(batch: Batch) -> None:
        asked.append(batch)
        if "q2" in batch:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as stopped:
        run([path], before_batch=interrupt)
    assert (asked, stopped.value.exit_code) == ([["q0", "q1"], ["q2", "q3"]], 143)
    assert "Run the same command again to go on." in capsys.readouterr().err
    assert not path.exists()
    assert run([path], 7)[0] == [["q4", "q5", "q6"]]


def test_a_batch_that_does_not_fit_is_halved_and_no_question_is_lost(tmp_path, capsys) -> None:
    def fits_two(batch: Batch) -> None:
        if len(batch) > 2:
            raise torch.OutOfMemoryError

    path = tmp_path / "a.feather"
    with pytest.raises(UserError, match="7 questions at once do not fit into memory"):
        run([path], 7, before_batch=fits_two)
    batches, _ = run([path], 7, before_batch=fits_two, may_shrink=True)
    assert [len(batch) for batch in batches] == [2, 2, 2, 1]
    assert written(path) == ALL
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{size} questions at once do not fit into memory; going on with {smaller}."
        for size, smaller in ((7, 4), (4, 2))
    ]


def test_memory_that_the_system_refuses_is_out_of_memory_and_other_errors_are_not(tmp_path):
    def refused(batch: Batch) -> None:
        if len(batch) > 4:
            torch.empty(1 << 50)

    batches, _ = run([tmp_path / "a.feather"], 7, before_batch=refused, may_shrink=True)
    assert [len(batch) for batch in batches] == [4, 3]

    def broken(batch: Batch) -> None:
        torch.ones(2) @ torch.ones(3)

    with pytest.raises(RuntimeError, match="size"):
        run([tmp_path / "b.feather"], 7, before_batch=broken, may_shrink=True)


def test_a_batch_that_is_not_full_is_halved_at_its_own_length(tmp_path) -> None:
    tried = []

    def fits_four(batch: Batch) -> None:
        tried.append(len(batch))
        if len(batch) > 4:
            raise torch.OutOfMemoryError

    run([tmp_path / "a.feather"], 100, before_batch=fits_four, may_shrink=True)
    assert tried == [7, 4, 3]


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_nothing_is_refused_and_not_asked_for_ever(tmp_path, size) -> None:
    with pytest.raises(UserError, match=f"Got --batch-size {size}"):
        run([tmp_path / "a.feather"], size)

"""Answers by workers: the files of one process, whatever their number and their deaths."""

import contextlib
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import self_ensemble as se
from self_ensemble.jobs.progress import Silent
from self_ensemble.results.disk import read_table
from tests.cli.commands import many_question_rows, question_rows

pytestmark = [pytest.mark.usefixtures("ray_here"), pytest.mark.slow]
# Questions here take hundredths of a second.
TIMEOUT_S = 3.0
METHODS = ["flex_attention", "avg", "per_prompt"]
LETHAL = """
import os
import signal
from pathlib import Path

ONCE = {once!r}


def rule(logits, weights):
    # A rule sees no question; it is told by its weights.
    if bool((weights[:, 1] < 0.01).any()) and not (ONCE and Path(ONCE).exists()):
        if ONCE:
            Path(ONCE).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return logits.mean(dim=-2)
"""

HANGING = """
import time


def rule(logits, weights):
    if bool((weights[:, 1] < 0.01).any()):
        time.sleep(60)
    return logits.mean(dim=-2)
"""

FAULTY = """
import time
from pathlib import Path

OTHER_HAS_BEGUN = Path({begun!r})


def rule(logits, weights):
    if bool((weights[:, 1] > 0.65).any()):
        OTHER_HAS_BEGUN.touch()
        time.sleep(1)
    if bool((weights[:, 1] < 0.01).any()):
        while not OTHER_HAS_BEGUN.exists():
            time.sleep(0.01)
        raise ValueError("this rule is broken")
    return logits.mean(dim=-2)
"""

LARGE = """
def rule(logits, weights):
    if len(logits) > 2:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    return logits.mean(dim=-2)
"""


class ToldError(Exception):
    """Raised by who is told."""


class Listener(Silent):
    """Keeps what is said, and does not wait when it is warned."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        raise ToldError(line)


def options(**more: object) -> se.GenerateOptions:
    return se.GenerateOptions(
        **{"num_paraphrases": 3, "max_new_tokens": 4, "batch_size": 2} | more
    )


def rows(results: se.Results, name: str) -> pd.DataFrame:
    return pd.DataFrame(results.rows(name)).drop(columns="seconds")


def lethal_rows(uuid: str) -> list[dict[str, object]]:
    """Questions of which one is told by its weights."""
    return [
        row | {"trust": [1.0, 0.001 if row["uuid"] == uuid else 1.0, 1.0]}
        for row in question_rows()
    ]


def lethal_rule(monkeypatch, folder: Path, name: str, once: Path | None) -> str:
    (folder / f"{name}.py").write_text(LETHAL.format(once=once and str(once)))
    monkeypatch.syspath_prepend(folder)
    return f"{name}:rule"


def is_worker(process: psutil.Process) -> bool:
    try:
        # By its name, which a process keeps while it ends; Linux cuts it.
        return process.name().startswith("ray::Worker")
    except psutil.NoSuchProcess:
        return False


def connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections()
    except psutil.NoSuchProcess:
        return []


def workers_left() -> list[int]:
    """Workers that are still there, after a while to end in."""
    found = [child for child in psutil.Process().children(recursive=True) if is_worker(child)]
    _, alive = psutil.wait_procs(found, timeout=20)
    return [process.pid for process in alive]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, tiny_folder) -> dict[int, se.Results]:
    """What one process answers, by number of questions."""
    folder = tmp_path_factory.mktemp("alone")
    return {
        num: se.generate(
            many_question_rows(6)[:num],
            model=tiny_folder,
            methods=METHODS,
            output_dir=folder / str(num),
            options=options(),
        )
        for num in (1, 2, 7, 60)
    }


@pytest.mark.parametrize(
    ("num_workers", "num_questions"), [(1, 7), (2, 1), (2, 2), (3, 7), (3, 60)]
)
def test_files_do_not_depend_on_the_number_of_workers(
    num_workers, num_questions, tmp_path, tiny_folder, alone
) -> None:
    found = se.generate(
        many_question_rows(6)[:num_questions],
        model=tiny_folder,
        methods=METHODS,
        output_dir=tmp_path,
        options=options(),
        workers=se.Workers(num_workers, cpus_per_worker=1),
    )
    expected = alone[num_questions]
    assert found.outcome.num_questions == num_questions
    assert found.backend == expected.backend
    assert found.counters["prompt_tokens"] == expected.counters["prompt_tokens"]
    for name in METHODS:
        pd.testing.assert_frame_equal(rows(found, name), rows(expected, name), check_exact=True)
    assert workers_left() == []

    # One process finds them finished: what they were made with is the same.
    again = se.generate(
        many_question_rows(6)[:num_questions],
        model=tiny_folder,
        methods=METHODS,
        output_dir=tmp_path,
        options=options(),
    )
    assert again.outcome.num_questions == 0


def test_a_worker_that_is_killed_loses_no_answer(tmp_path, tiny_folder, monkeypatch) -> None:
    once = tmp_path / "killed"
    rule = lethal_rule(monkeypatch, tmp_path, "lethal_once", once)
    found = se.generate(
        lethal_rows("q4"),
        model=tiny_folder,
        methods=["avg", rule],
        output_dir=tmp_path,
        options=options(weights="trust"),
        workers=se.Workers(2, cpus_per_worker=1, max_worker_restarts=1),
    )
    assert once.exists()
    assert not found.failed
    assert [row["uuid"] for row in found.rows(rule)] == [f"q{n}" for n in range(10)]
    # The rule is the mean of logits, as `avg` is.
    assert list(rows(found, rule)["generation"]) == list(rows(found, "avg")["generation"])


def test_a_question_that_kills_whoever_takes_it_is_an_error_row_and_the_run_goes_on_with_others(
    tmp_path, tiny_folder, monkeypatch
) -> None:
    rule = lethal_rule(monkeypatch, tmp_path, "lethal", None)

    def run(workers: se.Workers) -> se.Results:
        return se.generate(
            lethal_rows("q9"),
            model=tiny_folder,
            methods=["avg", rule],
            output_dir=tmp_path,
            options=options(weights="trust"),
            workers=workers,
        )

    with pytest.raises(se.UserError, match=r"No worker is left.*while answering.*is kept"):
        run(se.Workers(1, cpus_per_worker=1, max_worker_restarts=0))
    shards = list(tmp_path.rglob("shard-*.feather"))
    # Four of five batches for two methods, and none of them is made again.
    assert len(shards) == 8
    found = run(se.Workers(2, cpus_per_worker=1, max_worker_restarts=3))
    assert found.outcome.num_questions == 1
    assert found.failed == {"q9"}
    assert [row["uuid"] for row in found.rows(rule)] == [f"q{n}" for n in range(10)]
    assert "killed its worker" in found.rows(rule)[9]["error"]
    assert all(row["prediction"] is not None for row in found.rows(rule)[:9])
    assert workers_left() == []


def test_a_question_that_hangs_goes_to_another_worker_and_if_it_hangs_there_is_an_error_row(
    tmp_path, tiny_folder, monkeypatch
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    monkeypatch.syspath_prepend(tmp_path)
    found = se.generate(
        lethal_rows("q1")[:3],
        model=tiny_folder,
        methods=["avg", "hanging:rule"],
        output_dir=tmp_path,
        options=options(weights="trust", batch_size=1),
        workers=se.Workers(2, cpus_per_worker=1, batch_timeout=TIMEOUT_S, max_worker_restarts=1),
    )
    assert found.failed == {"q1"}
    answers = found.rows("hanging:rule")
    assert [row["uuid"] for row in answers] == ["q0", "q1", "q2"]
    # Alone: two workers had it.
    assert "its worker, alone: It took more than 3 s." in answers[1]["error"]
    assert workers_left() == []


def test_what_others_work_on_while_a_worker_refuses_is_kept(
    tmp_path, tiny_folder, monkeypatch
) -> None:
    trust = {"q0": 0.001, "q4": 0.7}
    rows = [row | {"trust": [1.0, trust.get(row["uuid"], 0.5), 1.0]} for row in question_rows()]
    (tmp_path / "faulty.py").write_text(FAULTY.format(begun=str(tmp_path / "begun")))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(se.UserError, match="this rule is broken"):
        se.generate(
            rows,
            model=tiny_folder,
            methods=["faulty:rule"],
            output_dir=tmp_path,
            options=options(weights="trust"),
            workers=se.Workers(2, cpus_per_worker=1),
        )
    shards = tmp_path.rglob("shard-*.feather")
    kept = {uuid for shard in shards for uuid in read_table(shard).column("uuid").to_pylist()}
    # The one that refused had begun with its second batch; the other one's second had to wait.
    assert kept == {"q2", "q3", "q4", "q5"}


def test_a_batch_that_does_not_fit_on_a_worker_is_halved(
    tmp_path, tiny_folder, monkeypatch
) -> None:
    (tmp_path / "large.py").write_text(LARGE)
    monkeypatch.syspath_prepend(tmp_path)
    listener = Listener()

    def run(**more: object) -> se.Results:
        return se.generate(
            question_rows()[:5],
            model=tiny_folder,
            methods=["avg", "large:rule"],
            output_dir=tmp_path,
            options=options(**more),
            workers=se.Workers(1, cpus_per_worker=1),
            progress=listener,
        )

    with pytest.raises(se.UserError, match=r"3 questions at once do not fit.*--batch-size"):
        run(batch_size=3)
    found = run(batch_size=None, overwrite=True)
    shrunk = [line for line in listener.lines if "do not fit" in line]
    assert shrunk == [
        "5 questions at once do not fit into memory; going on with 3.",
        "3 questions at once do not fit into memory; going on with 2.",
    ]
    assert [row["generation"] for row in found.rows("large:rule")] == [
        row["generation"] for row in found.rows("avg")
    ]


def test_workers_that_have_no_place_are_told_of(tmp_path, tiny_folder, monkeypatch) -> None:
    from self_ensemble.jobs.workers import pool

    monkeypatch.setattr(pool, "WAIT_S", 0.5)
    with pytest.raises(
        ToldError,
        match=r"2 of 2 workers have not .* needs 99 CPUs and 0 GPUs; free are 8 of 8 CPUs",
    ):
        se.generate(
            question_rows(),
            model=tiny_folder,
            output_dir=tmp_path,
            options=options(),
            workers=se.Workers(2, ray="auto", cpus_per_worker=99),
            progress=Listener(),
        )


def test_what_a_worker_refuses_ends_the_run_in_its_words(tmp_path, tiny_folder) -> None:
    with pytest.raises(se.UserError, match="cuda"):
        se.generate(
            question_rows(),
            model=se.ModelOptions(str(tiny_folder), device="cuda:7"),
            methods=["avg"],
            output_dir=tmp_path,
            options=options(),
            workers=se.Workers(1, cpus_per_worker=1, gpus_per_worker=0),
        )


def test_nothing_listens_beyond_this_machine() -> None:
    mine = psutil.Process()
    listening = set()
    for process in (mine, *mine.children(recursive=True)):
        # Workers of the tests before may be ending.
        with contextlib.suppress(psutil.NoSuchProcess):
            listening |= {
                connection.laddr.ip.removeprefix("::ffff:")
                for connection in connections(process)
                if connection.status == psutil.CONN_LISTEN
            }
    assert listening == {"127.0.0.1"}


def test_a_loaded_model_is_not_sent(tmp_path, tiny_folder) -> None:
    with pytest.raises(se.UserError, match="Workers load the model themselves"):
        se.generate(
            question_rows(),
            model=se.load_model(str(tiny_folder)),
            output_dir=tmp_path,
            options=options(),
            workers=se.Workers(),
        )

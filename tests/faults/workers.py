"""Workers, the driver and Ray itself killed at any moment while workers are asked."""

import dataclasses
import functools
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
from transformers import AutoConfig

from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.commands import Ended, Workplace, compare, left_in, write_questions

NUM_QUESTIONS = 24
TARGETS = ("worker", "two workers", "driver", "gcs_server", "raylet")
ON_WORKERS = ("--workers", "2", "--cpus-per-worker", "1")
# Without workers, with one, with more than before.
LATER = ((), (), ("--workers", "1"), ("--workers", "3"))
GONE_S = 30.0
# What Ray or we leave in the folder of temporary files.
TEMPORARY = ("ray", "se-ray-*")

# Whether to strike now, by the seconds since the command began.
When = Callable[[float], bool]


@functools.cache
def workers_place() -> Workplace:
    """The commands that ask a model, over questions enough for several batches."""
    plain = Workplace.make()
    folder = plain.folder / "workers"
    shutil.copytree(plain.folder / "tiny", folder / "tiny")
    config = AutoConfig.from_pretrained(folder / "tiny")
    # The prompts of the styles are long.
    config.max_position_embeddings = 4096
    config.save_pretrained(folder / "tiny")
    data = write_questions(folder / "bridges.jsonl", NUM_QUESTIONS)

    def moved(arguments: list[str]) -> list[str]:
        return [one.replace(f"{plain.folder}/", f"{folder}/", 1) for one in arguments]

    def reword(out: Path) -> list[str]:
        return [
            "paraphrase", "--dataset", str(data), "--num-shots", "0", "--batch-size", "3",
            "--json", "--model", str(folder / "tiny"), "--num", "1", "--tries", "1",
            "--output", str(out / "w.jsonl"),
        ]  # fmt: skip

    place = dataclasses.replace(
        plain,
        folder=folder,
        commands={
            "generate": lambda out: [*moved(plain.commands["generate"](Path("."))[:-1]), str(out)],
            "confidence": lambda out: [
                *moved(plain.commands["confidence"](Path("."))[:-1]), str(out)],
            "reword": reword,
        },
        num_questions=NUM_QUESTIONS,
    )  # fmt: skip
    place.warm()
    return place


def injections(draws: random.Random, folder: Path) -> Iterator[Fault]:
    """Without end: something of a run killed, in its first seconds or once rows are on disk."""
    place = workers_place()
    while True:
        kinds = [(name, target) for name in place.commands for target in TARGETS]
        draws.shuffle(kinds)
        for name, target in kinds:
            out = folder / "out"
            if draws.random() < 0.4:
                seconds = draws.uniform(0.2, 12)
                when, what = after(seconds), f"after {seconds:.1f} s"
            else:
                shards, more_s = draws.randint(1, 12), draws.uniform(0, 0.3)
                when = with_shards(out, shards, more_s)
                what = f"{more_s:.2f} s after {shards} shards"
            yield _struck(place, out, name, target, when, what, draws.choice(LATER))


def after(seconds: float) -> When:
    return lambda since: since >= seconds


def with_shards(out: Path, number: int, more_s: float) -> When:
    there_since: list[float] = []

    def when(since: float) -> bool:
        if not there_since and len(list(out.rglob("shard-*.feather"))) >= number:
            there_since.append(since)
        return bool(there_since) and since >= there_since[0] + more_s

    return when


def _struck(
    place: Workplace,
    out: Path,
    name: str,
    target: str,
    when: When,
    what: str,
    later: tuple[str, ...],
) -> Fault:
    what = f"{name}, {target} killed {what}, then {' '.join(later) or 'one process'}"
    family: list[psutil.Process] = []
    before = temporary_files()
    try:
        ended = place.run(name, out, *ON_WORKERS, meanwhile=partial(strike, target, when, family))
        verdict, seen = _judged(place, name, out, target, ended, later)
        if verdict == Verdict.SURVIVED:
            verdict, seen = left_running(family, before)
        return Fault(what, verdict, f"{seen}; at first: {ended}")
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _judged(
    place: Workplace, name: str, out: Path, target: str, ended: Ended, later: tuple[str, ...]
) -> tuple[Verdict, str]:
    if ended.code == 0:
        return compare(place.expected(name), left_in(out))
    killed = target == "driver" and ended.code == -signal.SIGKILL
    if not (killed or (target in ("gcs_server", "raylet") and ended.one_line)):
        return Verdict.TRACEBACK, "neither done nor refused in one line"
    return place.go_on(name, out, *later)


def strike(
    target: str,
    when: When,
    family: list[psutil.Process],
    pid: int,
    number: int = signal.SIGKILL,
) -> None:
    """Send part of a run a signal when it is time; what it had started by then is noted down."""
    begun = time.monotonic()
    driver = psutil.Process(pid)
    while driver.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)
        if not when(time.monotonic() - begun):
            continue
        family[:] = driver.children(recursive=True)
        victims = victims_among(family, driver, target)
        if victims:
            for victim in victims:
                with suppress(psutil.NoSuchProcess):
                    victim.send_signal(number)
            return


def victims_among(
    family: list[psutil.Process], driver: psutil.Process, target: str
) -> list[psutil.Process]:
    """Who is to be killed; nobody as long as there is none."""
    if target == "driver":
        return [driver]
    if target in ("worker", "two workers"):
        workers = [one for one in family if _name(one).startswith("ray::Worker")]
        needed = 1 if target == "worker" else 2
        return workers[:needed] if len(workers) >= needed else []
    return [one for one in family if _name(one) == target]


def left_running(
    family: list[psutil.Process], before: set[Path], seconds: float = GONE_S
) -> tuple[Verdict, str]:
    """Whether processes and temporary files of a run are gone after a while."""
    latest = time.monotonic() + seconds
    _, alive = psutil.wait_procs(family, timeout=seconds)
    while (files := temporary_files() - before) and time.monotonic() < latest:
        time.sleep(0.1)
    if not alive and not files:
        return Verdict.SURVIVED, ""
    return Verdict.TRACEBACK, f"left after {seconds:.0f} s: {alive}, {sorted(files)}"


def temporary_files() -> set[Path]:
    """What runs have put where temporary files go."""
    found = {path for pattern in TEMPORARY for path in Path("/tmp").glob(pattern)}
    return found | {path for path in Path("/tmp/ray").glob("session_2*")}


def _name(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


WORKERS = Campaign("kills with workers", injections, few=3, many=60)

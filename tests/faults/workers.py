"""Workers, the driver and Ray itself killed at any moment while workers are asked."""

import atexit
import dataclasses
import functools
import os
import random
import shutil
import signal
import tempfile
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
# Of an undisturbed run, but for the last.
SHARDS = {"generate": 15, "confidence": 7, "reword": 7}
GONE_S = 30.0
# Each worker that is started loads its libraries anew.
HANG_S = 600
# Temporary files of runs; short, because of Ray's sockets.
TEMPORARY = Path(tempfile.mkdtemp(prefix="f"))
atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)

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
                shards, more_s = draws.randint(1, SHARDS[name]), draws.uniform(0, 0.3)
                when = with_shards(out, shards, more_s)
                what = f"{more_s:.2f} s after {shards} shards"
            fault = _struck(place, out, name, target, when, what, draws.choice(LATER))
            if fault is not None:
                yield fault


def after(seconds: float) -> When:
    return lambda since: since >= seconds


def never(since: float) -> bool:
    """For a run that is only watched."""
    return False


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
) -> Fault | None:
    """None where the run had ended before."""
    what = f"{name}, {target} killed {what}, then {' '.join(later) or 'one process'}"
    family: set[psutil.Process] = set()
    striking = partial(strike, target, signal.SIGKILL)
    watch = Watch(family, when, striking)
    try:
        ended = place.run(name, out, *ON_WORKERS, before=set_out, meanwhile=watch)
        if not watch.struck:
            return None
        verdict, seen = _judged(place, name, out, target, ended, later)
        if verdict == Verdict.SURVIVED:
            verdict, seen = left_running(family)
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


@dataclasses.dataclass
class Watch:
    """Watches a run until it has ended, and does something to it once.

    Attributes:
        family: All processes that it was seen to start.
        when: Whether it is time.
        do: What is done; says whether it could be.
        struck: Whether it was done.
    """

    family: set[psutil.Process]
    when: When
    do: Callable[[psutil.Process, set[psutil.Process]], bool]
    struck: bool = False

    def __call__(self, pid: int) -> None:
        begun, driver = time.monotonic(), psutil.Process(pid)
        while driver.status() != psutil.STATUS_ZOMBIE:
            self.family |= set(driver.children(recursive=True))
            if not self.struck and self.when(time.monotonic() - begun):
                self.struck = self.do(driver, self.family)
            time.sleep(0.005)


def strike(target: str, number: int, driver: psutil.Process, family: set[psutil.Process]) -> bool:
    """Send part of a run a signal; False where there is no such part yet."""
    victims = victims_among([one for one in family if one.is_running()], driver, target)
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(number)
    return bool(victims)


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


def set_out() -> None:
    """Have this process put its temporary files where they are looked for, and time enough."""
    tempfile.tempdir = str(TEMPORARY)
    os.environ["RAY_AUTH_MODE"] = "disabled"
    signal.alarm(HANG_S)


def left_running(family: list[psutil.Process], seconds: float = GONE_S) -> tuple[Verdict, str]:
    """Whether processes and temporary files of a run are gone after a while."""
    latest = time.monotonic() + seconds
    _, alive = psutil.wait_procs(family, timeout=seconds)
    while (files := list(TEMPORARY.iterdir())) and time.monotonic() < latest:
        time.sleep(0.1)
    if not alive and not files:
        return Verdict.SURVIVED, ""
    return Verdict.TRACEBACK, f"left after {seconds:.0f} s: {alive}, {sorted(files)}"


def _name(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


WORKERS = Campaign("kills with workers", injections, few=0, many=60)

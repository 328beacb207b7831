"""Processes killed before each operation on their files, and at any moment."""

import functools
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.commands import STATES, Workplace
from tests.faults.operations import at, interfere, number_of_operations


def injections(moments: random.Random, folder: Path) -> Iterator[Fault]:
    """Before every operation of every command, then at moments drawn without end."""
    place = Workplace.make()
    for name, state, number in every_operation(place, moments):
        before = partial(_kill_at, number)
        yield _killed(place, folder, name, state, f"before operation {number}", before)
    while True:
        name, state = moments.choice(list(place.commands)), moments.choice(STATES)
        after_s = moments.uniform(0.001, 0.3)
        before = partial(_kill_after, after_s)
        yield _killed(place, folder, name, state, f"after {after_s:.3f} s", before)


def every_operation(place: Workplace, order: random.Random) -> Iterator[tuple[str, str, int]]:
    """Each operation that the commands do on their files: command, state it finds, number.

    By turns, so that a few of them are of many kinds.
    """
    kinds = [(name, state) for name in place.commands for state in STATES]
    order.shuffle(kinds)
    steps: dict[tuple[str, str], list[int]] = {}
    while kinds:
        for kind in list(kinds):
            if kind not in steps:
                steps[kind] = list(range(1, operations_in(place, *kind) + 1))
                order.shuffle(steps[kind])
            yield (*kind, steps[kind].pop())
            if not steps[kind]:
                kinds.remove(kind)


@functools.cache
def operations_in(place: Workplace, name: str, state: str) -> int:
    out = place.folder / "counted"
    more = place.begin(name, out, state)
    try:
        return number_of_operations(lambda do: place.run(name, out, *more, before=do), out)
    finally:
        shutil.rmtree(out)


def _kill(operation: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(number: int, out: Path) -> None:
    interfere(out, at(number, _kill))


def _kill_after(seconds: float, out: Path) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _killed(
    place: Workplace,
    folder: Path,
    name: str,
    state: str,
    when: str,
    before: Callable[[Path], None],
) -> Fault:
    out = folder / "killed"
    more = place.begin(name, out, state)
    what = f"{name}, {state}, killed {when}"
    try:
        ended = place.run(name, out, *more, before=lambda: before(out))
        if ended.code not in (0, -signal.SIGKILL, -signal.SIGALRM):
            return Fault(what, Verdict.TRACEBACK, str(ended))
        return Fault(what, *place.go_on(name, out, repair=state == "repair"))
    finally:
        shutil.rmtree(out, ignore_errors=True)


KILLS = Campaign("kills", injections, few=6, many=500)

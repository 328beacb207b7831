"""Operations on files that fail, once or from then on, with each error that disks give."""

import errno
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.commands import Workplace
from tests.faults.kills import every_operation
from tests.faults.operations import (
    REFUSALS,
    Interfere,
    at,
    fail,
    interfere,
    write_half,
)


def injections(draws: random.Random, folder: Path) -> Iterator[Fault]:
    """At every operation of every command, without end: with an error drawn each time."""
    place = Workplace.make()
    while True:
        for name, state, number in every_operation(place, draws):
            code = draws.choice(REFUSALS)
            lasting = draws.random() < 0.5
            what = f"{name}, {state}, {errno.errorcode[code]}"
            if draws.random() < 0.1:
                halved = draws.choice([None, code])
                what += f" after half a write ({halved})"
                yield _failing(place, folder, name, state, what, write_half(halved))
            else:
                what += f" {'from' if lasting else 'at'} operation {number}"
                with_operation = at(number, fail(code), lasting=lasting)
                yield _failing(place, folder, name, state, what, with_operation)


def _failing(
    place: Workplace, folder: Path, name: str, state: str, what: str, with_operation: Interfere
) -> Fault:
    out = folder / "failing"
    more = place.begin(name, out, state)
    try:
        before = partial(interfere, out, with_operation)
        ended = place.run(name, out, *more, before=before)
        if ended.code != 0 and not ended.one_line:
            return Fault(what, Verdict.TRACEBACK, str(ended))
        verdict, seen = place.go_on(name, out, repair=state == "repair")
        return Fault(what, verdict, f"{seen}; at first: {ended}")
    finally:
        shutil.rmtree(out, ignore_errors=True)


DISK_ERRORS = Campaign("disk errors", injections, few=6, many=500)

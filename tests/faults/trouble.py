"""What may go wrong with workers but for kills: questions, hangs, the object store, the disk."""

import dataclasses
import errno
import functools
import json
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
from pyarrow import feather

from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.commands import Ended, Workplace, compare, left_in, without_times
from tests.faults.kills import operations_in
from tests.faults.nodes import two_nodes
from tests.faults.operations import REFUSALS, at, fail, interfere
from tests.faults.workers import (
    NUM_QUESTIONS,
    ON_WORKERS,
    SHARDS,
    Watch,
    left_running,
    never,
    set_out,
    strike,
    with_shards,
    workers_place,
)

RULE = """
import os
import signal

import numpy as np

KEPT = []


def rule(logits, weights):
    {does}
    return logits.mean(dim=-2)
"""
DOES = {
    "harmless": "pass",
    # A rule sees no question; it is told by its weights.
    "lethal": "if bool((weights[:, 1] < 0.01).any()): os.kill(os.getpid(), signal.SIGKILL)",
    # Ten times what the object store holds, and none of it given back.
    "greedy": "import ray; KEPT.extend(ray.put(np.zeros(4 << 20)) for _ in range(8))",
}


def injections(draws: random.Random, folder: Path) -> Iterator[Fault]:
    """Without end, by turns: the kinds below."""
    place = workers_place()
    kinds = [_lethal_question, _hanging_worker, _full_store, _full_disk, _node_leaves]
    while True:
        draws.shuffle(kinds)
        for kind in kinds:
            out = folder / "out"
            family: set[psutil.Process] = set()
            try:
                fault = kind(place, out, draws, family)
                if fault is None:
                    continue
                if fault.verdict == Verdict.SURVIVED:
                    fault = Fault(fault.what, *left_running(family))
                yield fault
            finally:
                shutil.rmtree(out, ignore_errors=True)


def _lethal_question(
    place: Workplace, out: Path, draws: random.Random, family: set[psutil.Process]
) -> Fault:
    lethal = draws.sample(range(NUM_QUESTIONS), draws.randint(1, 2))
    what = f"questions {lethal} kill whoever takes them"
    ended = _ask_with_rule(place, out, "lethal", lethal, *ON_WORKERS, family=family)
    if ended.code != 3:
        return Fault(what, Verdict.TRACEBACK, str(ended))
    return Fault(what, *_compare_rows(_with_rule(place, tuple(lethal)), out, lethal))


def _full_store(
    place: Workplace, out: Path, draws: random.Random, family: set[psutil.Process]
) -> Fault:
    what = "full object store"
    ended = _ask_with_rule(place, out, "greedy", [], *ON_WORKERS, family=family)
    if ended.code != 0:
        return Fault(what, Verdict.TRACEBACK, str(ended))
    return Fault(what, *_compare_rows(_with_rule(place, ()), out, []))


def _hanging_worker(
    place: Workplace, out: Path, draws: random.Random, family: set[psutil.Process]
) -> Fault | None:
    """None where the run had ended before."""
    name = draws.choice(list(place.commands))
    shards = draws.randint(1, SHARDS[name])
    what = f"{name}, a worker hangs after {shards} shards"
    hang = Watch(family, with_shards(out, shards, 0.0), partial(strike, "worker", signal.SIGSTOP))
    ended = place.run(
        name, out, *ON_WORKERS, "--batch-timeout", "5", before=set_out, meanwhile=hang
    )
    if not hang.struck:
        return None
    if ended.code != 0:
        return Fault(what, Verdict.TRACEBACK, str(ended))
    return Fault(what, *compare(place.expected(name), left_in(out)))


def _full_disk(
    place: Workplace, out: Path, draws: random.Random, family: set[psutil.Process]
) -> Fault:
    name, code = draws.choice(list(place.commands)), draws.choice(REFUSALS)
    number = draws.randint(1, operations_in(place, name, "new"))
    what = f"{name}, the driver's disk gives {errno.errorcode[code]} from operation {number}"

    def before() -> None:
        set_out()
        interfere(out, at(number, fail(code), lasting=True))

    watch = Watch(family, never, lambda driver, family: False)
    ended = place.run(name, out, *ON_WORKERS, before=before, meanwhile=watch)
    if ended.code != 0 and not ended.one_line:
        return Fault(what, Verdict.TRACEBACK, str(ended))
    verdict, seen = place.go_on(name, out)
    return Fault(what, verdict, f"{seen}; at first: {ended}")


def _node_leaves(
    place: Workplace, out: Path, draws: random.Random, family: set[psutil.Process]
) -> Fault | None:
    """None where the run had ended before."""
    name = draws.choice(list(place.commands))
    shards = draws.randint(1, SHARDS[name])
    what = f"{name}, a node leaves after {shards} shards"
    with two_nodes() as nodes:
        leave = Watch(
            family, with_shards(out, shards, 0.0), lambda driver, family: nodes.node_leaves()
        )
        cluster = ("--ray", nodes.address)
        ended = place.run(name, out, *ON_WORKERS, *cluster, before=set_out, meanwhile=leave)
    if not leave.struck:
        return None
    if ended.code != 0:
        return Fault(what, Verdict.TRACEBACK, str(ended))
    return Fault(what, *compare(place.expected(name), left_in(out)))


@functools.cache
def _with_rule(place: Workplace, lethal: tuple[int, ...]) -> dict[str, list[dict[str, object]]]:
    """The rows of one process with a rule that does nothing."""
    out = place.folder / "ruled" / "-".join(map(str, lethal))
    ended = _ask_with_rule(place, out, "harmless", list(lethal))
    assert ended.code == 0, ended
    return _rows(out)


def _ask_with_rule(
    place: Workplace,
    out: Path,
    does: str,
    lethal: list[int],
    *more: str,
    family: set[psutil.Process] | None = None,
) -> Ended:
    """Ask with a rule of the user's, which knows the lethal questions by their weights."""
    modules = place.folder / does
    modules.mkdir(exist_ok=True)
    (modules / "rules_of_mine.py").write_text(RULE.format(does=DOES[does]))
    rows = [json.loads(line) for line in (place.folder / "bridges.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["trust"] = [1.0, 0.001 if number in lethal else 1.0]
    data = place.folder / "trusted.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def arguments(out: Path) -> list[str]:
        found = place.commands["generate"](out)
        found[found.index("--dataset") + 1] = str(data)
        found[found.index("--method") + 1] = "per_prompt,rules_of_mine:rule"
        return [*found, "--weights", "trust"]

    ruled = dataclasses.replace(place, commands={"generate": arguments})

    def before() -> None:
        set_out()
        sys.path.insert(0, str(modules))

    watch = Watch(set() if family is None else family, never, lambda driver, family: False)
    return ruled.run("generate", out, *more, before=before, meanwhile=watch)


def _rows(out: Path) -> dict[str, list[dict[str, object]]]:
    return {
        path.name: feather.read_table(path).to_pylist() for path in sorted(out.rglob("*.feather"))
    }


def _compare_rows(
    expected: dict[str, list[dict[str, object]]], out: Path, lethal: list[int]
) -> tuple[Verdict, str]:
    """The rows of lethal questions say why there is no answer, the others are as expected."""
    found, uuids = _rows(out), {f"q{number}" for number in lethal}

    def others(files: dict[str, list[dict[str, object]]]) -> dict[str, object]:
        return {
            name: [without_times(row) for row in rows if row["uuid"] not in uuids]
            for name, rows in files.items()
        }

    for name, rows in found.items():
        errors = {str(row["uuid"]) for row in rows if "killed its worker" in str(row["error"])}
        if errors != uuids:
            return Verdict.CHANGED, f"{name}: {sorted(errors)} are said to be lethal"
    return compare(others(expected), others(found))


TROUBLE = Campaign("trouble with workers", injections, few=0, many=20)

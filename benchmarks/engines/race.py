"""The turns: every engine once in each, so that all meet the machine's moods alike."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.engines.asking import ALONE, MOST_TURNS, WARM_UP, Ask, turn
from benchmarks.engines.lines import LINES, REFERENCE, Line
from benchmarks.engines.process import Asked, Running
from self_ensemble.errors import UserError

# A rival's column that took so many times what the fastest took when it warmed up takes part in
# fewer turns, as all methods in one go do: nobody waits for it, and all others would.
SLOW = 2.0
# Questions of the warm-up.
FEW = 4

Report = Callable[[str], None]
Asks = list[dict[str, Ask]]


@dataclass(slots=True)
class Raced:
    """What was measured.

    Attributes:
        laps: By part ("wall", "core"), line and column; one for each turn it took part in.
        skipped: Why a line did not take part, or left, by its name.
        equal: By line and column, the share of answers that are those of `generate` in float32;
            only where both answered.
        ties: Of float32 lines, answers that differ from it at a token that is as good.
        wrong: Of float32 lines of others, why an answer is not right.
    """

    laps: dict[str, dict[str, dict[str, list[Asked]]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    equal: dict[str, dict[str, float]] = field(default_factory=dict)
    ties: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def race(
    lines: Mapping[str, Line],
    model: str,
    tokenizer: Any,
    *,
    num_questions: int,
    new_tokens: int,
    turns: int,
    slow_turns: int,
    report: Report,
) -> Raced:
    """All lines on all cores, then all pinned to one core with one thread.

    Raises:
        UserError: An answer of ours is not right.
    """
    asked = _asks(tokenizer, turns, num_questions, new_tokens)
    large = turn(tokenizer, MOST_TURNS, num_questions=num_questions, new_tokens=new_tokens)
    raced = Raced()
    core = max(os.sched_getaffinity(0))
    for part, pinned in (("wall", None), ("core", core)):
        with _started(lines, model, pinned, raced, report) as running:
            few = _warm_up(running, asked[-1], raced, part, report)
            for name in [one for one in running if LINES[one].is_ours]:
                # Asked in few turns, it would show what the first and largest passes take.
                report(f"warming up {name}, all methods")
                _lap(running, name, large, ["all"], raced, None)
            for number in range(turns):
                names = list(running)
                first = number % max(len(names), 1)
                for name in names[first:] + names[:first]:
                    report(f"{part}, turn {number + 1} of {turns}: {name}")
                    columns = [c for c in LINES[name].columns if number < slow_turns
                               or c not in few.get(name, ())]  # fmt: skip
                    _lap(running, name, asked[number], columns, raced, part)
            if part == "wall":
                report("comparing answers")
                _compare(running, asked[0], raced)
    return raced


def race_beside_load(
    lines: Mapping[str, Line],
    model: str,
    tokenizer: Any,
    *,
    num_questions: int,
    new_tokens: int,
    turns: int,
    report: Report,
) -> Raced:
    """All lines on all cores, each turn once alone and once beside a busy loop on one core."""
    asked = _asks(tokenizer, 2 * turns, num_questions, new_tokens)
    raced = Raced()
    with _started(lines, model, None, raced, report) as running:
        _warm_up(running, asked[-1], raced, "wall", report)
        for number in range(turns):
            for part, ask in (("wall", asked[2 * number]), ("beside", asked[2 * number + 1])):
                report(f"{part}, turn {number + 1} of {turns}")
                with busy_core() if part == "beside" else ExitStack():
                    for name in list(running):
                        columns = [*ALONE, "flex_attention"] if LINES[name].is_ours else ALONE
                        _lap(running, name, ask, columns, raced, part)
    return raced


@contextmanager
def busy_core() -> Iterator[None]:
    """A loop that keeps one core busy, meanwhile."""
    core = min(os.sched_getaffinity(0))
    pin = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    loop = subprocess.Popen([sys.executable, "-c", pin])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def _asks(tokenizer: Any, turns: int, num_questions: int, new_tokens: int) -> Asks:
    """What each turn asks, and last what warms up."""
    asked = [
        turn(tokenizer, number, num_questions=num_questions, new_tokens=new_tokens)
        for number in range(turns)
    ]
    few = min(FEW, num_questions)
    return [*asked, turn(tokenizer, WARM_UP, num_questions=few, new_tokens=new_tokens)]


@contextmanager
def _started(
    lines: Mapping[str, Line], model: str, core: int | None, raced: Raced, report: Report
) -> Iterator[dict[str, Running]]:
    with ExitStack() as stack:
        running: dict[str, Running] = {}
        for name, line in lines.items():
            reason = raced.skipped.get(name) or line.missing()
            if reason is None:
                report(f"loading {name}")
                try:
                    running[name] = Running(name, model, core)
                except UserError as error:
                    reason = str(error)
                else:
                    stack.callback(running[name].close)
            if reason is not None:
                _skip(raced, name, reason)
        yield running


def _skip(raced: Raced, name: str, reason: str) -> None:
    if LINES[name].is_ours:
        raise UserError(reason, "SE-1101")
    raced.skipped[name] = reason


def _warm_up(
    running: dict[str, Running], ask: Mapping[str, Ask], raced: Raced, part: str, report: Report
) -> dict[str, set[str]]:
    """Ask everybody what no turn asks, twice; returns the slow columns of each line."""
    seconds: dict[str, dict[str, float]] = {}
    for name in list(running):
        report(f"warming up {name}")
        # The first answer of a shape is slower: kernels are made, memory is taken.
        laps: dict[str, Asked] = {}
        for _ in range(2):
            if name in running:
                laps = _lap(running, name, ask, LINES[name].columns, raced, None)
        if name in running:
            seconds[name] = {column: lap.wall_s for column, lap in laps.items()}
            raced.laps.setdefault(part, {})[name] = {}
    fastest = {c: min((s[c] for s in seconds.values()), default=0.0) for c in ALONE}
    return {
        name: {"all"}
        if LINES[name].is_ours
        else {column for column, taken in each.items() if taken > SLOW * fastest[column]}
        for name, each in seconds.items()
    }


def _lap(
    running: dict[str, Running],
    name: str,
    asks: Mapping[str, Ask],
    columns: Sequence[str],
    raced: Raced,
    part: str | None,
) -> dict[str, Asked]:
    """Ask one line some columns; a line of others that fails leaves, with the reason."""
    found: dict[str, Asked] = {}
    for column in columns:
        try:
            found[column] = running[name].ask(asks[column])
        except UserError as error:
            _skip(raced, name, str(error))
            running.pop(name)
            for laps in raced.laps.values():
                laps.pop(name, None)
            return {}
        if part is not None:
            mine = raced.laps.setdefault(part, {}).setdefault(name, {})
            mine.setdefault(column, []).append(found[column])
    return found


def _compare(running: Mapping[str, Running], asks: Mapping[str, Ask], raced: Raced) -> None:
    """Hold the first turn's answers against those of `generate` in float32."""
    reference = running.get(REFERENCE)
    if reference is None:
        return
    for name, laps in raced.laps["wall"].items():
        if name == REFERENCE:
            continue
        for column in ALONE:
            right, rows = raced.laps["wall"][REFERENCE][column][0].rows, laps[column][0].rows
            pairs = list(zip(asks[column].prompts, rows, right, strict=True))
            other = [(prompt, row) for prompt, row, expected in pairs if row != expected]
            raced.equal.setdefault(name, {})[column] = 1.0 - len(other) / len(pairs)
            if LINES[name].is_exact and other:
                _hold_to_the_oracle(reference, name, asks[column], other, raced)


def _hold_to_the_oracle(
    reference: Running, name: str, ask: Ask, other: Sequence[Any], raced: Raced
) -> None:
    from dataclasses import replace

    prompts, rows = zip(*other, strict=True)
    try:
        reference.ties(name, replace(ask, prompts=prompts), rows)
    except UserError as error:
        if LINES[name].is_ours:
            raise
        raced.wrong[name] = str(error)
    else:
        raced.ties[name] = raced.ties.get(name, 0) + len(rows)

"""From laps to one JSON document, which every table and picture is made from."""

import datetime
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from benchmarks.document import plain
from benchmarks.engines.asking import ALONE, FUSED, Ask
from benchmarks.engines.lines import LINES
from benchmarks.engines.process import Asked
from benchmarks.engines.race import Raced
from benchmarks.facts import commit, hardware, versions
from benchmarks.summary import Spread

Document = dict[str, Any]
PACKAGES = ("openvino-genai", "openvino", "ctranslate2", "xllamacpp")
# Seconds that a part is about: of the clock on all cores, of the processor on one.
SECONDS = {"wall": "wall_s", "core": "cpu_s", "beside": "wall_s"}


@dataclass(frozen=True, slots=True)
class Made:
    """How it was measured."""

    command: list[str]
    model: str
    num_questions: int
    ask: Ask
    turns: int


def make_document(raced: Raced, made: Made) -> Document:
    """All numbers and what they depend on, ready for JSON; milliseconds per question."""
    parts = {
        part: {
            name: {column: _numbers(laps, part, made) for column, laps in columns.items()}
            for name, columns in lines.items()
        }
        for part, lines in raced.laps.items()
    }
    names = dict.fromkeys(name for lines in raced.laps.values() for name in lines)
    document = {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(made.command),
        "commit": commit(),
        "hardware": hardware(torch.device("cpu")) | {"threads": len(os.sched_getaffinity(0))},
        "versions": versions() | _versions(),
        "work": {
            "model": made.model,
            "questions": made.num_questions,
            "wordings": len(made.ask.wordings[0]),
            "prefix_tokens": len(made.ask.prefix),
            "new_tokens": made.ask.new_tokens,
            "turns": made.turns,
        },
        "lines": {
            name: {
                "title": LINES[name].title,
                "engine": LINES[name].engine,
                "precision": LINES[name].precision,
                "equal_answers": raced.equal.get(name),
                "ties": raced.ties.get(name),
                "wrong": raced.wrong.get(name),
            }
            for name in names
        },
        "parts": parts,
        "skipped": raced.skipped,
    }
    document["ratios"] = {part: ratios(document, part) for part in parts if part != "beside"}
    if "beside" in parts:
        document["growth"] = growth(document)
    found = plain(document)
    assert isinstance(found, dict)
    return found


def _numbers(laps: list[Asked], part: str, made: Made) -> dict[str, object]:
    per = 1e3 / made.num_questions
    spread = Spread.of(per * getattr(lap, SECONDS[part]) for lap in laps)
    cpu = Spread.of(per * lap.cpu_s for lap in laps)
    return {**spread._asdict(), "cpu_ms": cpu.median, "turns": len(laps)}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def median(document: Mapping[str, Any], part: str, name: str, column: str) -> float | None:
    """Milliseconds per question; None where it was not measured."""
    numbers = document["parts"].get(part, {}).get(name, {}).get(column)
    return None if numbers is None else float(numbers["median"])


def fastest(
    document: Mapping[str, Any], part: str, column: str, *, ours: bool
) -> tuple[str, float] | None:
    """The fastest of ours, or of the others, in a column."""
    found = {
        name: value
        for name, line in document["lines"].items()
        if (line["engine"] == "ours") == ours
        and (value := median(document, part, name, column)) is not None
    }
    if not found:
        return None
    name = min(found, key=lambda one: found[one])
    return name, found[name]


def ratios(document: Mapping[str, Any], part: str) -> list[dict[str, object]]:
    """Ours by the fastest rival: one wording, five wordings, five fused.

    Nobody else fuses wordings; what stands beside that is the fastest rival's time for five
    wordings, which fusing outside of it would begin with.
    """
    found = []
    for column in (*ALONE, *FUSED):
        theirs = fastest(document, part, column if column in ALONE else "five", ours=False)
        ours = fastest(document, part, column, ours=True)
        if theirs and ours:
            found.append({
                "column": column, "ours": ours[0], "ours_ms": ours[1], "rival": theirs[0],
                "rival_ms": theirs[1], "ours_by_rival": ours[1] / theirs[1],
            })  # fmt: skip
    return found


def growth(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """How many times as long each took beside a busy core, by line and column."""
    return {
        name: {
            column: numbers["median"] / alone["median"]
            for column, numbers in columns.items()
            if (alone := document["parts"]["wall"].get(name, {}).get(column))
        }
        for name, columns in document["parts"]["beside"].items()
    }

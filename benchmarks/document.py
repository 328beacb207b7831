"""The outcome of a benchmark as a document: for machines, and as an entry of a file of results."""

import datetime
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.ceilings import Ceilings
from benchmarks.check import Checked
from benchmarks.facts import commit, hardware, versions
from benchmarks.grow import Point, memory_growth
from benchmarks.summary import Row, ratios
from benchmarks.view import ratio_lines, rows_markdown
from benchmarks.work import Work
from self_ensemble.ensemble import Ensemble


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was measured.

    Attributes:
        work: What was answered.
        check: What was compared before.
        ceilings: The machine's.
        rows: The fixed work.
        stop_rows: The same prompts with answers that end; empty if not asked for.
        grown: What grew; None if nothing was asked to.
        points: The growth; empty if not asked for.
    """

    work: Work
    check: Checked
    ceilings: Ceilings
    rows: list[Row]
    stop_rows: list[Row]
    grown: str | None
    points: list[Point]


def make_document(outcome: Outcome, attention: str, command: list[str]) -> dict[str, object]:
    """All numbers and what they depend on, ready for JSON."""
    work, ceilings = outcome.work, outcome.ceilings
    loaded = work.loaded
    asked = Ensemble(loaded, "flex_attention", frame=work.frame, attention=attention)
    document: dict[str, object] = {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(command),
        "commit": commit(),
        "hardware": hardware(loaded.device),
        "versions": versions(),
        "model": {
            "name": loaded.name,
            "revision": loaded.revision,
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "attention": asked.engine.backend_name,
            "linear_layers_of_ours": _layers(work),
            "decode_of_ours": work.decode,
        },
        "work": {
            "name": work.name,
            "questions": len(work.parts),
            "batch_size": work.batch_size,
            "wordings": work.num_wordings,
            "new_tokens": work.max_new_tokens,
            "prefix_tokens": len(work.frame.prefix),
            "mean_segment_tokens": mean_segment(work),
        },
        "ceilings": {
            "flops_per_s": ceilings.flops_per_s,
            "bytes_per_s": ceilings.bytes_per_s,
        },
        "check": asdict(outcome.check),
        "fixed": _rows_document(outcome.rows),
        "ending_early": _rows_document(outcome.stop_rows),
        "growth": None
        if outcome.grown is None
        else {
            "with": outcome.grown,
            "points": [{"value": value, **_as_dict(row)} for value, row in outcome.points],
            "peak_bytes_per_question": memory_growth(outcome.points)
            if outcome.grown == "questions"
            else None,
        },
    }
    found = plain(document)
    assert isinstance(found, dict)
    return found


def results_markdown(document: dict[str, object], outcome: Outcome) -> str:
    """A dated entry for a file of results."""
    title = f"## {str(document['date'])[:10]}: {work_line(outcome.work)}"
    parts = [title, machine_line(document), f"    {document['command']}"]
    for name, rows in (("", outcome.rows), ("Answers end at a stop string:", outcome.stop_rows)):
        if rows:
            lines = "\n".join(f"- {line}" for line in ratio_lines(ratios(rows)))
            parts += [name, rows_markdown(rows).rstrip(), lines]
    for value in dict.fromkeys(value for value, _ in outcome.points):
        rows = [row for at, row in outcome.points if at == value]
        parts += [f"{outcome.grown} = {value}:", rows_markdown(rows).rstrip()]
    return "\n\n".join(filter(None, parts)) + "\n"


def work_line(work: Work) -> str:
    """The work in a line."""
    dtype = str(work.loaded.dtype).removeprefix("torch.")
    return (
        f"{work.loaded.name}, {dtype}, {work.name}: {len(work.parts)} questions in "
        f"{work.num_wordings} wordings, batches of {work.batch_size}, "
        f"{work.max_new_tokens} new tokens; linear layers of ours: {_layers(work)}"
        f"{'' if work.decode == 'tree' else f', decode: {work.decode}'}"
    )


def machine_line(document: dict[str, object]) -> str:
    """The machine and the versions in a line."""
    facts, found = document["hardware"], document["versions"]
    assert isinstance(facts, dict)
    assert isinstance(found, dict)
    place = facts.get("gpu") or f"{facts['cpu']}, {facts['threads']} threads"
    names = ", ".join(f"{name} {number}" for name, number in found.items())
    return f"{place}; {names}; commit {document['commit']}"


def mean_segment(work: Work) -> float:
    """Mean length of a wording in tokens."""
    lengths = [len(segment) for parts in work.parts for segment in parts.segments]
    return sum(lengths) / len(lengths)


def plain(value: object) -> object:
    """The same as JSON knows it: nan and infinity are null, named tuples are objects."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    fields = getattr(value, "_fields", None)
    if isinstance(value, tuple) and fields is not None:
        return {name: plain(item) for name, item in zip(fields, value, strict=True)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def _layers(work: Work) -> str:
    return "packed" if work.ours_is_packed else "plain"


def _rows_document(rows: list[Row]) -> dict[str, object] | None:
    if not rows:
        return None
    return {"rivals": {row.name: _as_dict(row) for row in rows}, "ratios": ratios(rows)}


def _as_dict(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in Row.__dataclass_fields__}

"""The tables, made from the document alone: for the terminal, RESULTS.md and docs/measured.md."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.engines.asking import COLUMNS
from benchmarks.engines.document import fastest, median
from self_ensemble.errors import UserError, reading
from self_ensemble.report.files import write_file

HEADS = {
    "one": "one wording",
    "five": "five wordings",
    "flex_attention": "`flex_attention`",
    "avg": "`avg`",
    "all": "all methods",
}
PARTS = {
    "wall": "Wall time on all cores, ms per question",
    "core": "CPU time of one thread on one core, ms per question",
}
BEGIN, END = "<!-- engines: begin -->", "<!-- engines: end -->"
PICTURE = (
    "![Milliseconds per question of every engine: one wording, five, and five fused]"
    "(../benchmarks/bench.png)"
)
DASH = "-"


def results_markdown(document: Mapping[str, Any]) -> str:
    """A dated entry for the file of results, every number with its spread."""
    work = document["work"]
    title = (
        f"## {document['date'][:10]}: engines, {work['model']}: {work['questions']} questions in "
        f"{work['wordings']} wordings, one batch, {work['prefix_tokens']} tokens of prefix, "
        f"{work['new_tokens']} new tokens, {work['turns']} turns"
    )
    blocks = [title, machine(document), f"    {document['command']}"]
    if "growth" in document:
        blocks += [growth_table(document)]
    else:
        for part, about in PARTS.items():
            if part in document["parts"]:
                lines = "\n".join(f"- {line}" for line in ratio_lines(document, part))
                blocks += [f"{about}: median (p10 to p90).", table(document, part, spread=True)]
                blocks += [lines]
        blocks += [equal_lines(document)]
    skipped = [f"- skipped: {name}: {why}" for name, why in document["skipped"].items()]
    return "\n\n".join(filter(None, [*blocks, "\n".join(skipped)])) + "\n"


def readme_block(document: Mapping[str, Any]) -> str:
    """What docs/measured.md shows: picture, two tables, ratios, and what they depend on."""
    work = document["work"]
    blocks = [PICTURE]
    for part, about in PARTS.items():
        blocks += [f"{about}:", table(document, part)]
        blocks += ["\n".join(f"- {line}" for line in ratio_lines(document, part))]
    blocks += [
        f"{work['questions']} questions in one batch, {work['prefix_tokens']} tokens of prefix, "
        f"{work['new_tokens']} new tokens, medians of {work['turns']} turns; "
        f"{document['date'][:10]}. {machine(document)}",
        f"    {document['command']}",
    ]
    return "\n\n".join(blocks)


def write_readme(path: Path, document: Mapping[str, Any]) -> None:
    """Put the tables between the marks of a page.

    Raises:
        UserError: It has no marks, or cannot be read or written.
    """
    with reading(path, "Choose another --write-readme."):
        text = path.read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError(
            f"{path} has no place for the tables. Put {BEGIN} and {END} into it.", "SE-1101"
        )
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    write_file(path, f"{before}{BEGIN}\n\n{readme_block(document)}\n\n{END}{after}")


def table(document: Mapping[str, Any], part: str, *, spread: bool = False) -> str:
    """Lines by columns; the fastest of the others and of ours in each column are bold."""
    columns = [c for c in COLUMNS if _measured(document, part, c)]
    best = {
        (found[0], column)
        for column in columns
        for ours in (True, False)
        if (found := fastest(document, part, column, ours=ours))
    }
    heads = ["engine, precision", *(HEADS[column] for column in columns), "same answers"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(columns) + 1)}"]
    for name, line in document["lines"].items():
        if name not in document["parts"][part]:
            continue
        cells = [line["title"]]
        for column in columns:
            text = _cell(document["parts"][part][name].get(column), spread)
            cells.append(f"**{text}**" if (name, column) in best else text)
        lines.append(f"| {' | '.join([*cells, _share(line['equal_answers'])])} |")
    return "\n".join(lines)


def ratio_lines(document: Mapping[str, Any], part: str) -> list[str]:
    """Ours beside the fastest rival, a line for each column."""
    found = []
    for one in document["ratios"].get(part, []):
        own = document["lines"][one["ours"]]["title"]
        rival = document["lines"][one["rival"]]["title"]
        what = HEADS[one["column"]]
        if one["column"] not in ("one", "five"):
            what, rival = f"five wordings fused by {what}", f"{rival}, not fused"
        found.append(
            f"{what}: {own} {_number(one['ours_ms'])}, the fastest rival ({rival}) "
            f"{_number(one['rival_ms'])}: {one['ours_by_rival']:.2f} times"
        )
    return found


def equal_lines(document: Mapping[str, Any]) -> str:
    """What is behind the column of same answers, where there is more to say."""
    lines = []
    for line in document["lines"].values():
        if line["ties"]:
            lines.append(
                f"- {line['title']}: {line['ties']} answers differ from `generate`'s, from a "
                "token on that is as good as its up to rounding"
            )
        if line["wrong"]:
            lines.append(f"- {line['title']}: NOT the answers of `generate`: {line['wrong']}")
    return "\n".join(lines)


def growth_table(document: Mapping[str, Any]) -> str:
    """Alone, beside a busy core, and by how much each grew."""
    heads = ["engine, precision", "asked", "alone", "beside load", "times"]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | ---: | ---: | ---: |"]
    for name, columns in document["growth"].items():
        for column, times in columns.items():
            ms = [_number(median(document, part, name, column)) for part in ("wall", "beside")]
            title = document["lines"][name]["title"]
            lines.append(f"| {title} | {HEADS[column]} | {' | '.join(ms)} | {times:.2f} |")
    return "\n".join(lines)


def as_terminal(markdown: str) -> str:
    """A table of Markdown with its columns in line."""
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines()]
    rows = [[re.sub(r"[*`]", "", cell) for cell in row] for n, row in enumerate(lines) if n != 1]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def machine(document: Mapping[str, Any]) -> str:
    """The machine and the versions in a line."""
    facts = document["hardware"]
    names = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    return f"{facts['cpu']}, {facts['threads']} cores; {names}; commit {document['commit']}"


def _measured(document: Mapping[str, Any], part: str, column: str) -> bool:
    return any(column in line for line in document["parts"].get(part, {}).values())


def _cell(numbers: Mapping[str, Any] | None, spread: bool) -> str:
    if numbers is None:
        return DASH
    text = _number(numbers["median"])
    if not spread:
        return text
    if numbers["turns"] == 1:
        return f"{text} (once)"
    few = f", {numbers['turns']} turns" if numbers["turns"] < 5 else ""
    return f"{text} ({_number(numbers['p10'])} to {_number(numbers['p90'])}{few})"


def _share(equal: Mapping[str, float] | None) -> str:
    if not equal:
        return DASH
    return " / ".join(f"{100 * share:.0f} %" for share in equal.values())


def _number(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:,.{0 if value >= 100 else 1}f}"

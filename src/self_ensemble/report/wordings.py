"""Questions with their wordings: kept and rejected side by side."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from self_ensemble.wordings.rows import Summary


def wordings_view(row: Mapping[str, Any]) -> Table:
    """One question as a table for the terminal: kept wordings left, rejected ones right."""
    answers = ", ".join(row["answers"])
    table = Table(
        title=f"{escape(row['question'] or '(no question)')}"
        f"  [dim]{escape(row['uuid'])}; accepted: {escape(answers)}[/]",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        expand=True,
    )
    table.add_column("kept", ratio=5, style="green", header_style="bold green")
    table.add_column("style", no_wrap=True, style="dim")
    table.add_column("log p", justify="right", no_wrap=True, style="dim")
    if any(row["checks"]):
        table.add_column("check", ratio=2, style="dim")
    table.add_column("rejected", ratio=4, header_style="bold red")
    table.add_column("because", no_wrap=True, style="red")
    for kept, rejected in zip_longest(_kept(row), _rejected(row)):
        blank = [""] * (4 if any(row["checks"]) else 3)
        table.add_row(*(kept or blank), *(rejected or ("", "")))
    if row["error"]:
        table.caption = f"[red]{escape(row['error'])}[/]"
    elif row["missing"]:
        table.caption = f"[yellow]{row['missing']} too few[/]"
    table.caption_justify = "left"
    return table


def _kept(row: Mapping[str, Any]) -> list[list[str]]:
    cells = []
    columns = (row["paraphrases"], row["styles"], row["logprobs"], row["checks"])
    for text, style, logprob, check in zip(*columns, strict=True):
        number = "" if math.isnan(logprob) else f"{logprob:.2f}"
        cells.append([escape(text), escape(style), number, *([escape(check)] if check else [])])
    return cells


def _rejected(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each rejected text once, with how often it was drawn."""
    times: dict[tuple[str, str], int] = {}
    for refused in row["rejected"]:
        key = (refused["text"], refused["reason"])
        times[key] = times.get(key, 0) + 1
    return [
        (escape(text) or "[dim](nothing)[/]", reason + (f" x{count}" if count > 1 else ""))
        for (text, reason), count in times.items()
    ]


def summary_lines(summary: Summary, num: int | None, seconds: float | None) -> Sequence[str]:
    """What a run came to, in a few lines.

    Args:
        summary: Counts over the whole file.
        num: Wordings asked for; None if all that pass are kept.
        seconds: Time of this run; None if it did nothing.
    """
    share = summary.survived / summary.candidates if summary.candidates else math.nan
    lines = [
        f"{summary.questions} questions, {summary.candidates} candidates; "
        f"{summary.survived} ({share:.0%}) passed the gate, {summary.kept} are kept.",
    ]
    if summary.rejected:
        reasons = sorted(summary.rejected.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{reason} {count}" for reason, count in reasons)
        lines.append(f"Rejected: {listed}.")
    if num is not None:
        few = str(summary.too_few) if summary.too_few else "none"
        lines.append(f"Questions with fewer than {num} wordings: {few}.")
    if summary.errors:
        lines.append(f"Questions that could not be reworded: {summary.errors} (column 'error').")
    if seconds is not None:
        lines.append(f"{seconds:.1f} s.")
    return lines

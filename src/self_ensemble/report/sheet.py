"""A table of any rows, said once and written five ways: terminal, Markdown, LaTeX, CSV, JSON.

People read percentages with one decimal; machines get fractions in full, an interval as two more
columns.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.text import Text

from self_ensemble.report.cells import (
    MISSING,
    decimal,
    decimal_interval,
    empty_if_unknown,
    none_if_unknown,
    number_table,
    number_table_latex,
    number_table_markdown,
    p_cell,
    percent,
    percent_interval,
    seconds_cell,
    tokens_cell,
)
from self_ensemble.scoring.statistics import Estimate

_WRITTEN: dict[str, Callable[[Any], str]] = {
    "p": p_cell, "seconds": seconds_cell, "tokens": tokens_cell,
}  # fmt: skip
_NO_ESTIMATE = Estimate(nan, nan, nan, 0)

Kind = Literal["text", "count", "percent", "points", "number", "seconds", "tokens", "p"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: What machines call it.
        title: What people read, in one or two lines.
        kind: What its values are: "percent" fractions, "points" differences of fractions.
        interval: Whether they are estimates with an interval; None stands for no value.
    """

    name: str
    title: str
    kind: Kind = "count"
    interval: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes:
        key: What machines call it.
        title: What people read above it.
        columns: Its columns; the first names the row.
        rows: One value a column.
        legend: Sentences below it.
        where: Data set and model, for machines; None for a table of several.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    legend: str = ""
    where: tuple[str, str] | None = None


def sheets_view(sheets: Sequence[Sheet]) -> RenderableType:
    """Draw tables for a terminal, one below the other."""
    parts: list[RenderableType] = []
    for sheet in sheets:
        parts += [
            number_table(sheet.title, _header(sheet), _cells(sheet), _num_names(sheet)),
            Text(),
        ]
        if sheet.legend:
            parts += [Text(sheet.legend), Text()]
    return Group(*parts)


def sheets_markdown(sheets: Iterable[Sheet]) -> str:
    """Write tables as Markdown."""
    lines: list[str] = []
    for sheet in sheets:
        lines += number_table_markdown(
            sheet.title, _header(sheet), _cells(sheet), _num_names(sheet)
        )
        lines += [sheet.legend, ""] if sheet.legend else []
    return "\n".join(lines)


def sheets_latex(sheets: Iterable[Sheet]) -> str:
    """Write tables for LaTeX, with booktabs."""
    lines: list[str] = []
    for sheet in sheets:
        lines += number_table_latex(
            sheet.title, _header(sheet), _cells(sheet), _num_names(sheet), sheet.legend
        )
    return "\n".join(lines)


def sheet_csv(sheets: Sequence[Sheet]) -> str:
    """Write tables with the same columns as one CSV table of fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_machine_names(sheets[0]))
    for sheet in sheets:
        for row in sheet.rows:
            writer.writerow(empty_if_unknown(_machine_values(sheet, row)))
    return text.getvalue()


def sheet_records(sheet: Sheet) -> list[dict[str, object]]:
    """The rows for JSON; an unknown number is None."""
    names = _machine_names(sheet)
    return [
        dict(zip(names, none_if_unknown(_machine_values(sheet, row)), strict=True))
        for row in sheet.rows
    ]


def cell_texts(sheet: Sheet) -> list[list[str]]:
    """What people read in every cell."""
    return _cells(sheet)


def sort_values(sheet: Sheet) -> list[list[float | str | None]]:
    """What every cell is sorted by: a number, or a text; None if it is not known."""
    return [
        [_sorted_by(column, value) for column, value in zip(sheet.columns, row, strict=True)]
        for row in sheet.rows
    ]


def _sorted_by(column: Column, value: Any) -> float | str | None:
    if column.kind == "text":
        return str(value)
    number = value.value if isinstance(value, Estimate) else value
    return None if number is None or not isfinite(number) else float(number)


def _num_names(sheet: Sheet) -> int:
    return sum(column.kind == "text" for column in sheet.columns)


def _header(sheet: Sheet) -> list[str]:
    return [column.title for column in sheet.columns]


def _cells(sheet: Sheet) -> list[list[str]]:
    return [
        [_cell(column, value) for column, value in zip(sheet.columns, row, strict=True)]
        for row in sheet.rows
    ]


def _cell(column: Column, value: Any) -> str:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return MISSING
    signed = column.kind == "points"
    if column.kind in ("percent", "points"):
        write = percent_interval if column.interval else percent
        return write(value, signed=signed)
    if column.kind == "number":
        return decimal_interval(value) if column.interval else decimal(value)
    return _WRITTEN.get(column.kind, str)(value)


def _machine_names(sheet: Sheet) -> list[str]:
    names = [] if sheet.where is None else ["dataset", "model"]
    for column in sheet.columns:
        ends = ("", "_low", "_high", "_n") if column.interval else ("",)
        names += [column.name + end for end in ends]
    return names


def _machine_values(sheet: Sheet, row: tuple[Any, ...]) -> list[object]:
    values: list[object] = list(sheet.where or ())
    for column, value in zip(sheet.columns, row, strict=True):
        if column.interval:
            values += _NO_ESTIMATE if value is None else value
        else:
            values.append(value)
    return values

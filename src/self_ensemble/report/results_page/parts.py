"""What a report's page is made of: sections, and tables as a page shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from self_ensemble.report.results_page.figures import PageFigure
from self_ensemble.report.sheet import Sheet, cell_texts, sort_values

Facts = tuple[tuple[str, str], ...]


class Cell(NamedTuple):
    """A cell: its text, the interval behind it or "", and what it is sorted by ("" unknown)."""

    text: str
    interval: str
    sort: str


class Row(NamedTuple):
    """A row, and what is seen when it is opened."""

    cells: tuple[Cell, ...]
    details: Facts


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table on a page.

    Attributes:
        caption: What it is.
        columns: Titles, and whether a column has numbers.
        rows: Its rows.
        is_heat: Whether a cell is as dark as its number is large, of numbers from 0 to 1.
        is_folded: Whether it is closed at first.
    """

    caption: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]
    is_heat: bool = False
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report.

    Attributes:
        key: What links lead to.
        title: Its heading.
        missing: Why there is nothing in it; "" where there is something.
        notes: Sentences above figures and tables.
        figures: Its figures.
        tables: Its tables.
        legend: Sentences below.
        content: What only this section has, by name.
    """

    key: str
    title: str
    missing: str = ""
    notes: tuple[str, ...] = ()
    figures: tuple[PageFigure, ...] = ()
    tables: tuple[PageTable, ...] = ()
    legend: tuple[str, ...] = ()
    content: Mapping[str, object] | None = None


def page_table(
    sheet: Sheet,
    caption: str = "",
    *,
    details: Sequence[Facts] = (),
    is_heat: bool = False,
    is_folded: bool = False,
) -> PageTable:
    """A sheet as a page shows it.

    Args:
        sheet: The table.
        caption: What it is; "" for the sheet's own title.
        details: Of each row what is seen when it is opened.
        is_heat: See `PageTable`.
        is_folded: See `PageTable`.
    """
    rows = []
    for place, (texts, values) in enumerate(
        zip(cell_texts(sheet), sort_values(sheet), strict=True)
    ):
        cells = tuple(
            _cell(text, value, is_name=column.kind == "text")
            for column, text, value in zip(sheet.columns, texts, values, strict=True)
        )
        rows.append(Row(cells, details[place] if details else ()))
    columns = tuple(
        (" ".join(column.title.split()), column.kind != "text") for column in sheet.columns
    )
    return PageTable(caption or sheet.title, columns, tuple(rows), is_heat, is_folded)


def _cell(text: str, value: float | str | None, *, is_name: bool) -> Cell:
    if is_name:
        return Cell(text, "", text)
    number, bracket, interval = text.partition(" [")
    sort = "" if value is None else f"{value:.9g}"
    return Cell(number, bracket.strip() + interval, sort)

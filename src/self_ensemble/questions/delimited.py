"""Rows of CSV and TSV text, whatever stands between their cells."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.rows import Row

_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}
_WHOLE = re.compile(r"-?\d+\.0")
_BOOLEANS: Mapping[str, bool] = {
    spelling: value
    for value, word in ((True, "true"), (False, "false"))
    for spelling in (word, word.title(), word.upper())
}


def read_delimited(path: Path, text: str, *, tabs: bool) -> Iterator[Row]:
    """Read the rows; every cell is a text, an empty one a missing value.

    A column of nothing but true and false, as Python, R and Excel spell them, is one of booleans.
    One of whole numbers with ".0" and empty cells was one of whole numbers: pandas makes floats of
    them where some are missing.

    Args:
        path: For messages.
        text: The file's text. Excel's first line `sep=;` names the delimiter; without it the
            header does.
        tabs: Whether the delimiter is a tab.

    Raises:
        UserError: The text is no table. The message names the line.
    """
    line, delimiter, text = _delimiter(path, text, tabs=tabs)
    lines = list(_cells(path, text, delimiter, line))
    if len(lines) < 2:
        return
    header = [name.strip() for name in lines[0][1]]
    columns = list(zip(*(cells for _, cells in lines[1:]), strict=True))
    kept = [n for n, name in enumerate(header) if name or any(columns[n])]
    check_columns(path, [header[n] for n in kept])
    values = {header[n]: _values(columns[n]) for n in kept}
    for number, (where, _) in enumerate(lines[1:]):
        yield Row(where, {name: column[number] for name, column in values.items()})


def _values(cells: Sequence[str]) -> Sequence[object]:
    """The values of a column."""
    filled = {cell for cell in cells if cell}
    if filled and filled <= _BOOLEANS.keys():
        return [_BOOLEANS.get(cell) for cell in cells]
    if len(filled) < len(set(cells)) and all(_WHOLE.fullmatch(cell) for cell in filled):
        return [cell.removesuffix(".0") or None for cell in cells]
    return [cell or None for cell in cells]


def check_columns(path: Path, names: Sequence[str]) -> None:
    """Refuse a table with two columns of one name: one of them would be lost.

    Raises:
        UserError: There are two such columns.
    """
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path} has two columns named {name!r}. Rename one.", "SE-0107")


def _delimiter(path: Path, text: str, *, tabs: bool) -> tuple[int, str, str]:
    """The first line of the table, its delimiter, and the table."""
    named = re.match(r'"?sep=(.)"?[,;\t]*\r?\n', text)
    if named:
        return 2, named[1], text[named.end() :]
    if tabs:
        return 1, "\t", text
    width = {delimiter: _header_width(text, delimiter) for delimiter in _DELIMITERS}
    widest = max(width.values())
    found = [delimiter for delimiter in _DELIMITERS if width[delimiter] == widest > 1]
    if len(found) > 1:
        both = " or ".join(_NAMES[delimiter] for delimiter in found)
        raise UserError(
            f"{path}: the header may be separated by {both}. Write the separator into a line "
            f"before it, such as sep={found[0]}",
            "SE-0105",
        )
    return 1, found[0] if found else ",", text


def _header_width(text: str, delimiter: str) -> int:
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return len(next((cells for cells in rows if cells), []))
    except csv.Error:
        return 0


def _cells(path: Path, text: str, delimiter: str, line: int) -> Iterator[tuple[str, list[str]]]:
    # The limit belongs to the process and defaults to 131,072 characters, less than a long cell.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width, first = 0, line
    try:
        for cells in reader:
            where, first = f"{path}:{first}", reader.line_num + line
            if not cells:
                continue
            width = width or len(cells)
            if len(cells) != width:
                raise UserError(
                    f"{where}: the row has {len(cells)} cells, the header has {width}. "
                    f"Put quotes around cells that hold {_NAMES.get(delimiter, repr(delimiter))}.",
                    "SE-0105",
                )
            if delimiter == "\t" and any("\t" in cell for cell in cells):
                raise UserError(
                    f"{where}: a cell begins with a quote and goes on over a tab. Write a quote "
                    'as "" inside quotes.',
                    "SE-0105",
                )
            yield where, cells
    except csv.Error as error:
        raise UserError(
            f"{path}:{first}: malformed CSV ({error}). Check its quotes.", "SE-0105"
        ) from None

"""Tables of rows: a file of any kind, or a folder that holds a data set."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.arrow_tables import read_feather, read_parquet
from self_ensemble.questions.delimited import read_delimited
from self_ensemble.questions.json_tables import read_json, read_json_lines, unnested
from self_ensemble.questions.reading import (
    PACKED_SUFFIXES,
    decode,
    is_file,
    kind_of,
    name_of,
    read_content,
)
from self_ensemble.questions.rows import Row


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file or of several.

    Attributes:
        rows: At least one row, in file order.
        sha256: Hash of the bytes, in hex.
        name: What the data set is called.
    """

    rows: tuple[Row, ...]
    sha256: str
    name: str


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a file of one of the `SUFFIXES`, packed or not.

    In a CSV or TSV file every cell is a text, and an empty cell a missing value.

    Args:
        path: The file.
        encoding: Of a text file; UTF-8 where None.

    Raises:
        UserError: The file is missing, empty, of an unknown kind or malformed. The message names
            the file, and the line where there is one.
    """
    kind = kind_of(path)
    if kind not in SUFFIXES and is_file(path):
        raise UserError(
            f"{path} has an unknown file type {path.suffix!r}. "
            f"Give a file that ends in {', '.join(SUFFIXES)}, or in one of them packed "
            f"({', '.join(PACKED_SUFFIXES)}).",
            "SE-0102",
        )
    content = read_content(path)
    if encoding is not None and kind in _BINARY:
        raise UserError(
            f"--encoding is for files of text, which {path} is not. Leave it out.", "SE-0012"
        )
    rows: tuple[Row, ...] = ()
    if content.data.strip():
        found = (
            _BINARY[kind](path, content.data)
            if kind in _BINARY
            else _TEXT[kind](path, decode(path, content.data, encoding))
        )
        rows = tuple(question for row in found for question in unnested(row))
    if not rows:
        raise UserError(f"{path} is empty. Give a file with at least one row.", "SE-0102")
    return Table(rows, content.sha256, name_of(path))


def read_tables(paths: list[Path], name: str, encoding: str | None = None) -> Table:
    """Read the parts of one data set, in the order given."""
    tables = [read_table(path, encoding) for path in paths]
    digest = hashlib.sha256("".join(table.sha256 for table in tables).encode())
    return Table(tuple(row for table in tables for row in table.rows), digest.hexdigest(), name)


def is_table_name(name: str) -> bool:
    """Whether a text reads like the path of a table."""
    return kind_of(Path(name)) in SUFFIXES


_TEXT: Mapping[str, Callable[[Path, str], Iterator[Row]]] = {
    ".jsonl": read_json_lines,
    ".json": read_json,
    ".csv": lambda path, text: read_delimited(path, text, tabs=False),
    ".tsv": lambda path, text: read_delimited(path, text, tabs=True),
    ".ndjson": read_json_lines,
}
_BINARY: Mapping[str, Callable[[Path, bytes], Iterator[Row]]] = {
    ".parquet": read_parquet,
    ".feather": read_feather,
    ".arrow": read_feather,
}
SUFFIXES = (*_TEXT, *_BINARY)

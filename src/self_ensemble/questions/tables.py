"""Rows of a JSON Lines, JSON, CSV, Parquet or Feather file, each with its place in the file."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import feather, parquet

from self_ensemble.checksum import DamagedError, check_sidecar, claims_checksum, problem
from self_ensemble.errors import UserError


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        where: Its place, to begin an error message with, for example "questions.jsonl:3".
        values: The row's columns. A list column holds a Python list, a missing value is None.
    """

    where: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """A file's rows.

    Attributes:
        rows: At least one row, in file order.
        sha256: Hash of the file's bytes, in hex.
    """

    rows: tuple[Row, ...]
    sha256: str


def read_table(path: Path) -> Table:
    """Read a file of one of the `SUFFIXES`.

    In a CSV file a cell that is a JSON list is read as that list and an empty cell as a missing
    value; all other cells stay text.

    Raises:
        UserError: The file is missing, empty, of an unknown kind or malformed. The message names
            the file, and the line where there is one.
    """
    data = _read_bytes(path)
    _check_undamaged(path, data)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} has an unknown file type {path.suffix!r}. "
            f"Give a file that ends in {', '.join(SUFFIXES)}."
        )
    rows = tuple(reader(path, data)) if data.strip() else ()
    if not rows:
        raise UserError(f"{path} is empty. Give a file with at least one row.")
    return Table(rows, hashlib.sha256(data).hexdigest())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder. Give a file.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Check the path.") from None


def _check_undamaged(path: Path, data: bytes) -> None:
    """Refuse a file of ours that is not as it was written; other people's have no checksum."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        check_sidecar(path, data)
    fault = problem(data) if suffix == ".feather" and claims_checksum(data) else None
    if fault is not None:
        raise DamagedError(path, fault, "Make it anew, with --repair where the command has it.")


def _decode(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not valid UTF-8. Save the file as UTF-8.") from None
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise UserError(f"{path}:{line}: holds a NUL byte. Remove it; the file must be text.")
    return text


def _read_jsonl(path: Path, data: bytes) -> Iterator[Row]:
    # Not splitlines(): it also splits at U+2028 and U+0085, which JSON texts may hold.
    for number, line in enumerate(_decode(path, data).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{where}: malformed JSON ({error}). Each line must be one JSON object."
            ) from None
        yield _object_row(where, values)


def _read_json(path: Path, data: bytes) -> Iterator[Row]:
    try:
        values = json.loads(_decode(path, data))
    except json.JSONDecodeError as error:
        hint = " A file with one object a line is named .jsonl." if "Extra" in error.msg else ""
        raise UserError(
            f"{path}:{error.lineno}: malformed JSON ({error.msg}).{hint or ' Correct the file.'}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: malformed JSON ({error}). Correct the file.") from None
    if not isinstance(values, list):
        raise UserError(
            f"{path} holds one JSON {_json_kind(values)}, not a list. Give a list of objects."
        )
    for number, value in enumerate(values, start=1):
        yield _object_row(f"{path} row {number}", value)


def _object_row(where: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise UserError(
            f"{where}: the row is a JSON {_json_kind(value)}, not an object. "
            'Write it as {"question": ..., "answers": ...}.'
        )
    return Row(where, value)


def _json_kind(value: object) -> str:
    kinds = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def _read_csv(path: Path, data: bytes) -> Iterator[Row]:
    text = _decode(path, data)
    # The limit belongs to the process and defaults to 131,072 characters, less than a long cell.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: Sequence[str] | None = None
    first_line = 1
    try:
        for cells in reader:
            where, first_line = f"{path}:{first_line}", reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = cells
                _check_columns(path, header)
            elif len(cells) != len(header):
                raise UserError(
                    f"{where}: the row has {len(cells)} cells, the header has {len(header)}. "
                    "Put quotes around cells that hold commas."
                )
            else:
                yield Row(where, {k: _cell(v) for k, v in zip(header, cells, strict=True)})
    except csv.Error as error:
        raise UserError(
            f"{path}:{first_line}: malformed CSV ({error}). Check its quotes."
        ) from None


def _cell(text: str) -> object:
    if not text.startswith("["):
        return text or None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read_parquet(path: Path, data: bytes) -> Iterator[Row]:
    return _arrow_rows(path, "Parquet", lambda: parquet.read_table(pa.BufferReader(data)))


def _read_feather(path: Path, data: bytes) -> Iterator[Row]:
    return _arrow_rows(path, "Feather", lambda: feather.read_table(pa.BufferReader(data)))


def _arrow_rows(path: Path, kind: str, read: Callable[[], Any]) -> Iterator[Row]:
    try:
        table = read()
    except (pa.ArrowException, OSError):
        raise UserError(f"{path} is not a readable {kind} file. Write it anew.") from None
    _check_columns(path, table.column_names)
    for number, values in enumerate(table.to_pylist(), start=1):
        yield Row(f"{path} row {number}", values)


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path} has two columns named {name!r}. Rename one.")


_READERS: Mapping[str, Callable[[Path, bytes], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".feather": _read_feather,
}
SUFFIXES = tuple(_READERS)

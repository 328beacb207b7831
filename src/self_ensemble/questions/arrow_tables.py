"""Rows of Parquet, Feather and Arrow files."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather, parquet

from self_ensemble.errors import UserError, reading
from self_ensemble.questions.delimited import check_columns
from self_ensemble.questions.rows import Row, Unreadable, WrittenNumber

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_NO_FRACTION = re.compile(r"\.0+(?=[-+Z]|$)")
_OUT_OF_RANGE = "<value out of range"


def read_parquet(path: Path, data: bytes) -> Iterator[Row]:
    """Read the rows of a Parquet file.

    Raises:
        UserError: It is none, or is damaged.
    """
    with _reading(path, "Parquet"):
        table = parquet.read_table(pa.BufferReader(data))
        table.validate(full=True)
    return _rows(path, table)


def read_feather(path: Path, data: bytes) -> Iterator[Row]:
    """Read the rows of a Feather file, or of an Arrow file or stream.

    Raises:
        UserError: It is none, or is damaged.
    """
    is_file = data[:4] == b"FEA1" or data[:6] == b"ARROW1"
    # Without its end a stream that was cut between two batches reads as a shorter one.
    if not is_file and not data.endswith(_END_OF_STREAM):
        raise UserError(
            f"Cannot read {path}: it is cut short or of another kind. "
            "It is not a readable Feather or Arrow file. Write it anew.",
            "SE-0106",
        )
    with _reading(path, "Feather or Arrow"):
        table = (
            feather.read_table(pa.BufferReader(data))
            if is_file
            else pa.ipc.open_stream(pa.BufferReader(data)).read_all()
        )
        table.validate(full=True)
    return _rows(path, table)


def _reading(path: Path, kind: str) -> Any:
    return reading(path, f"It is not a readable {kind} file. Write it anew.")


def _rows(path: Path, table: Any) -> Iterator[Row]:
    check_columns(path, table.column_names)
    labels = _labels(table.schema.metadata or {})
    columns = [
        _named(_values(column), labels[name]) if name in labels else _values(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    for number in range(table.num_rows):
        yield Row(
            f"{path} row {number + 1}",
            {
                name: values[number]
                for name, values in zip(table.column_names, columns, strict=True)
            },
        )


def _labels(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the classes of columns in which `datasets` wrote their numbers."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: [str(label) for label in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _named(values: Sequence[object], labels: Sequence[str]) -> list[object]:
    return [
        labels[value] if isinstance(value, int) and 0 <= value < len(labels) else None
        for value in values
    ]


def _values(column: Any) -> Sequence[object]:
    """A column as Python values; what cannot be one is `Unreadable`.

    Dates and times become texts as Arrow writes them: Python's end at the year 9999 and at
    microseconds, and need the zone's name to be known here.
    """
    try:
        wanted = _plain_type(column.type)
        values = column.cast(wanted).to_pylist() if wanted != column.type else column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        return [Unreadable(f"a {column.type} ({reason})")] * len(column)
    if _holds(column.type, pa.types.is_temporal):
        values = _each(values, _time)
    if _holds(column.type, _is_short_float):
        values = _each(values, _short_float)
    return list(values)


def _plain_type(kind: Any) -> Any:
    """The type to read a column as."""
    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inside = _plain_type(kind.value_type)
        return kind if inside == kind.value_type else pa.list_(inside)
    if pa.types.is_struct(kind):
        fields = [pa.field(field.name, _plain_type(field.type)) for field in kind]
        same = all(new.type == field.type for new, field in zip(fields, kind, strict=True))
        return kind if same else pa.struct(fields)
    return kind


def _holds(kind: Any, is_wanted: Callable[[Any], bool]) -> bool:
    """Whether a type, or one inside it, is wanted."""
    if is_wanted(kind):
        return True
    if pa.types.is_dictionary(kind):
        return _holds(kind.value_type, is_wanted)
    return any(_holds(kind.field(n).type, is_wanted) for n in range(kind.num_fields))


def _each(value: Any, change: Callable[[Any], object]) -> Any:
    """Change every value that is neither a list nor an object."""
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _each(item, change) for name, item in value.items()}
    return change(value)


def _time(value: object) -> object:
    """A time as Arrow writes it; a date alone where it is midnight without a zone."""
    if not isinstance(value, str):
        return value
    if value.startswith(_OUT_OF_RANGE):
        return Unreadable("a date or time outside of the years that can be written")
    value = _NO_FRACTION.sub("", value)
    date, _, time = value.partition(" ")
    return date if time and not time.strip("0:.") else value


def _is_short_float(kind: Any) -> bool:
    return bool(pa.types.is_float16(kind) or pa.types.is_float32(kind))


def _short_float(value: object) -> object:
    """A number with the digits that tell it from others of its width: 0.1, not 0.100000001."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    text = np.format_float_positional(np.float32(value), trim="-")
    return WrittenNumber(text)

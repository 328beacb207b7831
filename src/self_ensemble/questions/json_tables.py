r"""Rows of JSON and JSON Lines text, in the shapes that data sets are published in.

{...}\n{...}\n                one object a line, or printed over several lines
[{...}, {...}]                   a list of objects
{"data": [{...}, ...]}           the same inside an object (SQuAD, TriviaQA, pandas)
{"question": [...], ...}         columns as lists, or as objects {"0": ..., "1": ...} (pandas)
{"id1": {...}, "id2": {...}}     objects by id, which becomes the column `id`
data[].paragraphs[].qas[]        SQuAD's nesting
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.questions.rows import Row, WrittenNumber
from self_ensemble.questions.structures import json_object, parse_json

_BLANKS = re.compile(r"[ \t\r\n]*")
_INSIDE = ("data", "questions", "examples")


def read_json_lines(path: Path, text: str) -> Iterator[Row]:
    """Read one object a line; or one value over several lines, as `read_json` does.

    Raises:
        UserError: It is neither. The message names the line.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and (_is_object(lines[0]) or not _is_cut(lines[0])):
        return _lines(path, text)
    return read_json(path, text)


def read_json(path: Path, text: str) -> Iterator[Row]:
    """Read one JSON value, or several one after another.

    Raises:
        UserError: It is not JSON, or none of the shapes.
    """
    values = list(_values(path, text))
    if len(values) > 1:
        yield from (_object_row(f"{path}:{line}", value) for line, value in values)
        return
    for line, value in values:
        yield from _shaped(path, line, value)


def _lines(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines(): it also splits at U+2028 and U+0085, which JSON texts may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{where}: malformed JSON ({error}). Each line must be one JSON object.", "SE-0104"
            ) from None
        yield _object_row(where, value)


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_cut(line: str) -> bool:
    """Whether a line is JSON as far as it goes."""
    try:
        parse_json(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip()) - 1
    except (ValueError, RecursionError):
        return False
    return False


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The values of a text, each with the line that it begins on."""
    decoder = json.JSONDecoder(parse_float=WrittenNumber, object_pairs_hook=json_object)
    at, line, counted = _behind_blanks(text, 0), 1, 0
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}:{error.lineno}: malformed JSON ({error.msg}). Correct the file.",
                "SE-0104",
            ) from None
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{path}:{line}: malformed JSON ({error}). Correct the file.", "SE-0104"
            ) from None
        yield line, value
        at = _behind_blanks(text, end)


def _behind_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _shaped(path: Path, line: int, value: object) -> Iterator[Row]:
    if isinstance(value, list):
        yield from _listed(str(path), value)
    elif not isinstance(value, dict):
        raise UserError(
            f"{path} holds one JSON {_kind(value)}, not a list. Give a list of objects.", "SE-0104"
        )
    elif (name := _inside(value)) is not None:
        rows = value[name]
        if isinstance(value.get("columns"), list):  # pandas, orient="split"
            rows = _split(path, value["columns"], rows)
        yield from _listed(f"{path} {name!r}", rows)
    elif value and all(isinstance(item, list) for item in value.values()):
        yield from _from_columns(path, value)
    elif value and all(isinstance(item, dict) for item in value.values()):
        yield from _from_objects(path, value)
    elif value:
        yield _object_row(f"{path}:{line}", value)


def _inside(value: Mapping[str, object]) -> str | None:
    found = [
        name
        for name, rows in value.items()
        if name.casefold() in _INSIDE
        and isinstance(rows, list)
        and all(isinstance(row, dict | list) for row in rows)
    ]
    return found[0] if len(found) == 1 else None


def _listed(where: str, values: list[Any]) -> Iterator[Row]:
    for number, value in enumerate(values, start=1):
        yield _object_row(f"{where} row {number}", value)


def unnested(row: Row) -> Iterator[Row]:
    """SQuAD's questions, which stand two levels down; other rows as they are.

    Raises:
        UserError: The nesting is another one.
    """
    paragraphs = row.values.get("paragraphs")
    if not isinstance(paragraphs, list):
        yield row
        return
    for number, paragraph in enumerate(paragraphs, start=1):
        place = f"{row.where} paragraph {number}"
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list):
            raise UserError(
                f"{place} has no list 'qas'. Give SQuAD's nesting, or a list of rows.", "SE-0104"
            )
        for index, question in enumerate(questions, start=1):
            yield _object_row(f"{place} question {index}", question)


def _split(path: Path, names: list[Any], rows: list[Any]) -> list[Any]:
    if any(not isinstance(row, list) or len(row) != len(names) for row in rows):
        raise UserError(
            f"{path}: 'data' must hold lists as long as 'columns'. Write it anew.", "SE-0104"
        )
    try:
        return [
            json_object([(str(n), v) for n, v in zip(names, row, strict=True)]) for row in rows
        ]
    except ValueError as error:
        raise UserError(f"{path}: {error}. Rename one column.", "SE-0104") from None


def _from_columns(path: Path, columns: Mapping[str, list[object]]) -> Iterator[Row]:
    lengths = {name: len(items) for name, items in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(
            f"{path} holds one JSON object of lists of different lengths ({counts}), neither one "
            "row nor a table. Give a list of objects.",
            "SE-0104",
        )
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        yield Row(f"{path} row {number}", dict(zip(columns, values, strict=True)))


def _from_objects(path: Path, value: Mapping[str, Mapping[str, object]]) -> Iterator[Row]:
    """Columns by row number, as pandas writes them, or rows by id."""
    keys = [tuple(item) for item in value.values()]
    if len(set(keys)) == 1 and keys[0] and all(key.isdecimal() for key in keys[0]):
        for key in keys[0]:
            yield Row(f"{path} row {key!r}", {name: item[key] for name, item in value.items()})
        return
    for key, row in value.items():
        has_id = any(name.casefold() in ("id", "uuid") for name in row)
        yield Row(f"{path} row {key!r}", dict(row) if has_id else {"id": key, **row})


def _object_row(where: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise UserError(
            f"{where}: the row is a JSON {_kind(value)}, not an object. "
            'Write it as {"question": ..., "answers": ...}.',
            "SE-0104",
        )
    return Row(where, value)


def _kind(value: object) -> str:
    kinds = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")

r"""Texts that are visibly a structure, as JSON, Python, numpy and Freebase write them.

    ["a", "b"]   ['a', 'b']   ('a', 'b')   {'a', 'b'}   ['a' 'b']   array(['a'], dtype=object)
    {"text": ["a"], "answer_start": [3]}   (list (description "a") (description b))

A text that only resembles one of them is refused and never guessed at.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from self_ensemble.questions.rows import WrittenNumber

_QUOTED = r"""[uU]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_ONE_QUOTED = re.compile(_QUOTED, re.DOTALL)
_NUMPY = re.compile(rf"\[\s*(?:(?:{_QUOTED}|-?\d+)(?:\s+|(?=\])))*\]", re.DOTALL)
_NUMPY_ITEM = re.compile(rf"{_QUOTED}|-?\d+", re.DOTALL)
_FREEBASE = re.compile(
    r'\(list\s*(?:\(description\s+(?:"(?:[^"\\]|\\.)*"|[^()"]+)\)\s*)*\)', re.DOTALL
)
_FREEBASE_ITEM = re.compile(r'\(description\s+(?:"((?:[^"\\]|\\.)*)"|([^()"]+))\)', re.DOTALL)
_STRUCTURED = re.compile(
    rf"""
      \[.*\] | \{{.*\}}                           # brackets around all of it
    | \(\s*(?:{_QUOTED}|[-+.\d]+)\s*,.*\)         # a tuple
    | \(\s*{_QUOTED}\s*['"].*\)
    | \([^()]*,[^()]*\) | \(\)
    | (?:\w+\.)?(?:array|list|tuple|set|frozenset|dict|Series|Index|tensor)\(.*\)
    | (?:np|numpy|pd|datetime)\.\w+\(.*\)
    | [\w.]+\(\s*['"\[\{{].*\)                   # Decimal('3.5'), dict_values(['a'])
    | "\s*[\[\{{].*[\]\}}]\s*"                   # JSON written into JSON once more
    | \(list\b.*
    | \[\s*[uUbB]?['"].* | \{{\s*[uUbB]?['"].*    # opened, and cut off
    | .*['"]\s*[\]\}}]
    | \(?\s*{_QUOTED}\s*[,;|]\s*[uU]?['"].*       # 'a', 'b'
    | [bB](?:'.*'|".*")
    """,
    re.DOTALL | re.VERBOSE,
)
# What numpy and Python write round a value, and what that value must be.
_WRAPPERS = {
    "array": list, "set": list, "frozenset": list, "str_": str, "int64": int, "float64": float,
}  # fmt: skip


def structure_of(text: str) -> Any:
    """Read a text that is a structure.

    Returns:
        A list, or a dict; None if the text is plain.

    Raises:
        ValueError: The text is visibly a structure, and in none of the known notations.
    """
    text = text.strip()
    if not _STRUCTURED.fullmatch(text):
        return None
    if _FREEBASE.fullmatch(text):
        return [_unescaped(*found) for found in _FREEBASE_ITEM.findall(text)]
    if text[0] in "[{":
        try:
            return parse_json(text)
        except (ValueError, RecursionError):
            pass
    try:
        return _parse_python(text.replace("\r\n", "\n"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        cut = " (it is cut short by '...')" if "..." in text else ""
        raise ValueError(
            f"which is no list that JSON, Python or numpy write{cut}. "
            'Write lists as ["one", "two"]'
        ) from None


def parse_json(text: str) -> Any:
    """Read one JSON value; numbers keep the digits that they are written with.

    Raises:
        ValueError: It is not JSON, or an object has a key twice.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_float=WrittenNumber, object_pairs_hook=json_object)


def json_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its keys and values.

    Raises:
        ValueError: A key stands there twice: one of its values would be lost.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _unescaped(quoted: str, bare: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted) if quoted else bare.strip()


def _parse_python(text: str) -> Any:
    with warnings.catch_warnings():
        # An escape that Python does not know was not written by Python.
        warnings.simplefilter("error")
        if _NUMPY.fullmatch(text):
            # Not for Python's grammar, which joins texts that stand side by side.
            return [_numpy_item(found) for found in _NUMPY_ITEM.findall(text)]
        body = ast.parse(text, mode="eval").body
    value = _value(body, text.encode().split(b"\n"))
    # (1, 2) may be a pair of numbers or two answers; "a", "b" has lost its brackets.
    if isinstance(body, ast.Tuple) and (
        not text.startswith("(") or not all(isinstance(item, str) for item in value)
    ):
        raise ValueError("no list for certain")
    if not isinstance(value, list | dict):
        raise ValueError("no list")
    return value


def _numpy_item(written: str) -> object:
    return ast.literal_eval(written) if written[-1] in "'\"" else _number(written)


def _value(node: ast.expr, lines: Sequence[bytes]) -> Any:
    match node:
        case ast.Constant(value=str(text)) if _ONE_QUOTED.fullmatch(_source(node, lines)):
            return text
        case ast.Constant(value=bool() | None as value):
            return value
        case ast.Constant(value=int() | float()):
            return _number(_source(node, lines))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) as operand):
            return _number("-" + _source(operand, lines))
        case ast.Name(id="nan" | "NaN"):
            return float("nan")
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value(item, lines) for item in items]
        case ast.Dict(keys=keys, values=values):
            return json_object(list(_pairs(keys, values, lines)))
        case ast.Call(func=ast.Name(id="set"), args=[], keywords=[]):
            return []
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[one]) if (
            name in _WRAPPERS and isinstance(value := _value(one, lines), _WRAPPERS[name])
        ):
            return value
        case _:
            raise ValueError(f"{type(node).__name__} is no part of a list")


def _pairs(
    keys: Sequence[ast.expr | None], values: Sequence[ast.expr], lines: Sequence[bytes]
) -> Iterator[tuple[str, Any]]:
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            raise ValueError("keys must be texts")
        yield key.value, _value(value, lines)


def _number(written: str) -> int | WrittenNumber:
    try:
        number = int(written)
    except ValueError:
        return WrittenNumber(written)
    if str(number) != written:
        raise ValueError(f"no program writes {written}")  # [1,000] is no list of 1 and 0
    return number


def _source(node: ast.expr, lines: Sequence[bytes]) -> str:
    """What a node is written as, if it stands on one line; "" else."""
    if node.lineno != node.end_lineno:
        return ""
    return lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()

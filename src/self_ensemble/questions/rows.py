"""A row of a table, with its place for messages, and values that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        where: Its place, to begin an error message with, for example "questions.jsonl:3".
        values: The row's columns. A list column holds a Python list, a missing value is None.
    """

    where: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that stands in the file and cannot be had; an error only where it is used."""

    reason: str


class WrittenNumber(float):
    """A number with a fraction or an exponent, which knows the digits it was written with."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "WrittenNumber":
        number = super().__new__(cls, text)
        number.text = text
        return number

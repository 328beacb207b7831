"""Typed columns of a row; a value of another type is an error that names the row's place."""

from self_ensemble.errors import UserError
from self_ensemble.questions.answers import answers_of, shown
from self_ensemble.questions.columns import listed
from self_ensemble.questions.patterns import pattern_answer
from self_ensemble.questions.rows import Row, Unreadable
from self_ensemble.questions.structures import parse_json, structure_of


def optional_text(row: Row, column: str) -> str | None:
    """Read a text, None where the column is absent or holds no value."""
    value = row.values.get(column)
    return None if value is None else as_text(row, column, value, "a text")


def required_text(row: Row, column: str) -> str:
    """Read a text that must be there and not be blank."""
    text = optional_text(row, column)
    if text is None or not text.strip():
        raise UserError(
            f"{row.where}: the row has no {column!r}. Add it; "
            f"the row's columns are: {listed(row.values)}.",
            "SE-0107",
        )
    return text


def identity(row: Row, column: str) -> str | None:
    """Read an id, a text or a whole number; None where it is absent or blank."""
    return as_identity(row, column, row.values.get(column))


def as_identity(row: Row, name: str, value: object) -> str | None:
    """Read an id from a value."""
    # True is an int in Python, but no id.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # A column of whole numbers, some of which are missing, is one of floats to pandas.
    if isinstance(value, float):
        if value != value:
            return None
        if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
    text = None if value is None else as_text(row, name, value, "a text or a whole number")
    return text if text and text.strip() else None


def flag(row: Row, column: str) -> bool:
    """Read a boolean that must be there."""
    value = row.values.get(column)
    if not isinstance(value, bool):
        raise UserError(
            f"{row.where}: {column!r} must be true or false, got {shown(value)}.", "SE-0108"
        )
    return value


def text_list(row: Row, column: str, expected: str = "a list of texts") -> tuple[str, ...]:
    """Read a list of texts; empty where the column is absent or holds no value."""
    return as_text_list(row, column, row.values.get(column), expected)


def as_text_list(
    row: Row, name: str, value: object, expected: str = "a list of texts"
) -> tuple[str, ...]:
    """Read a list of texts, or a text that is one, from a value."""
    if isinstance(value, str) and value.strip():
        value = _opened(row, name, value, expected)
    if value is None or value == "":
        return ()
    if not isinstance(value, list):
        raise UserError(
            f"{row.where}: {name!r} must be {expected}, got {shown(value)}.", "SE-0108"
        )
    return tuple(as_text(row, name, item, expected) for item in value)


def _opened(row: Row, name: str, text: str, expected: str) -> object:
    try:
        structure = structure_of(text)
    except ValueError as error:
        raise UserError(
            f"{row.where}: {name!r} is the text {shown(text)}, {error}.", "SE-0108"
        ) from None
    if not isinstance(structure, list):
        raise UserError(
            f"{row.where}: {name!r} must be {expected}, got the text {shown(text)}. "
            'Write lists as ["one", "two"].',
            "SE-0108",
        )
    return structure


def answer_list(row: Row, column: str, separator: str | None = None) -> tuple[str, ...]:
    """Read the accepted answers of a column that must be there.

    Raises:
        UserError: The row has no such column, or it holds something else.
    """
    if column not in row.values:
        raise UserError(
            f"{row.where}: the row has no {column!r}, a text or a list of texts. "
            f"Add it; its columns are: {listed(row.values)}.",
            "SE-0107",
        )
    return as_answers(row, column, row.values[column], separator)


def as_answers(row: Row, name: str, value: object, separator: str | None) -> tuple[str, ...]:
    """Read the accepted answers from a value."""
    try:
        answers = answers_of(value, separator)
    except ValueError as error:
        raise UserError(f"{row.where}: {name!r} is {error}.", "SE-0108") from None
    return tuple(as_text(row, name, answer, "a text") for answer in answers)


def as_patterns(row: Row, name: str, value: object) -> tuple[str, ...]:
    """Read regular expressions, one or a list, as answers that are searched for."""
    if isinstance(value, str):
        value = _json_list(value) or [value]
    try:
        return tuple(pattern_answer(text) for text in as_text_list(row, name, value) if text)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{row.where}: {name!r}: {error}.", "SE-0108") from None


def _json_list(text: str) -> list[object] | None:
    # A pattern may well begin and end with brackets: [Aa]msterdam[0-9]
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def as_text(row: Row, name: str, value: object, expected: str) -> str:
    """Read a text that a tokenizer and a file accept from a value."""
    if isinstance(value, Unreadable):
        raise UserError(f"{row.where}: {name!r} cannot be read: {value.reason}.", "SE-0108")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise UserError(
                f"{row.where}: {name!r} holds bytes that are no UTF-8 text.", "SE-0103"
            ) from None
    if isinstance(value, dict):
        raise UserError(
            f"{row.where}: {name!r} must be {expected}, got an object with the keys "
            f"{listed(value)}. Name the key with --columns: {name}.KEY leads into it.",
            "SE-0108",
        )
    if not isinstance(value, str):
        raise UserError(
            f"{row.where}: {name!r} must be {expected}, got {shown(value)}.", "SE-0108"
        )
    if "\0" in value:
        raise UserError(f"{row.where}: {name!r} holds a NUL character. Remove it.", "SE-0103")
    try:
        # JSON can spell half of a surrogate pair, which no tokenizer and no file accepts.
        value.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{row.where}: {name!r} holds a lone surrogate. Remove it.", "SE-0103"
        ) from None
    return value

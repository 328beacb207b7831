"""Typed columns of a row; a value of another type is an error that names the row's place."""

from self_ensemble.errors import UserError
from self_ensemble.questions.tables import Row


def optional_text(row: Row, column: str) -> str | None:
    """Read a text, None where the column is absent or holds no value."""
    value = row.values.get(column)
    return None if value is None else _text(row, column, value, "a text")


def required_text(row: Row, column: str) -> str:
    """Read a text that must be there and not be blank."""
    text = optional_text(row, column)
    if text is None or not text.strip():
        raise UserError(
            f"{row.where}: the row has no {column!r}. Add it; "
            f"the row's columns are: {_columns(row)}."
        )
    return text


def identity(row: Row, column: str) -> str | None:
    """Read an id, a text or a whole number; None where it is absent or blank."""
    value = row.values.get(column)
    # True is an int in Python, but no id.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = optional_text(row, column)
    return text if text and text.strip() else None


def flag(row: Row, column: str) -> bool:
    """Read a boolean that must be there."""
    value = row.values.get(column)
    if not isinstance(value, bool):
        raise UserError(f"{row.where}: {column!r} must be true or false, got {_shown(value)}.")
    return value


def text_list(row: Row, column: str, expected: str = "a list of texts") -> tuple[str, ...]:
    """Read a list of texts; empty where the column is absent or holds no value."""
    value = row.values.get(column)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UserError(f"{row.where}: {column!r} must be {expected}, got {_shown(value)}.")
    return tuple(_text(row, column, item, expected) for item in value)


def answer_list(row: Row, column: str) -> tuple[str, ...]:
    """Read the accepted answers: a list of texts, or one text that is the only answer.

    Raises:
        UserError: The row has no such column, or it holds something else. A text in square
            brackets is refused too: it is a list that was written in another notation.
    """
    if column not in row.values:
        raise UserError(
            f"{row.where}: the row has no {column!r}, a text or a list of texts. "
            f"Add it; its columns are: {_columns(row)}."
        )
    value = row.values[column]
    if not isinstance(value, str):
        return text_list(row, column, "a text or a list of texts")
    if value.startswith("[") and value.endswith("]"):
        raise UserError(
            f"{row.where}: {column!r} is the text {_shown(value)}, which is no JSON list. "
            'Write lists as ["one", "two"].'
        )
    return (_text(row, column, value, "a text or a list of texts"),)


def _text(row: Row, column: str, value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{row.where}: {column!r} must be {expected}, got {_shown(value)}.")
    if "\0" in value:
        raise UserError(f"{row.where}: {column!r} holds a NUL character. Remove it.")
    try:
        # JSON can spell half of a surrogate pair, which no tokenizer and no file accepts.
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{row.where}: {column!r} holds a lone surrogate. Remove it.") from None
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:40] + '...'}"


def _columns(row: Row) -> str:
    return ", ".join(row.values) or "none"

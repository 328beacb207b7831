"""Where tokens begin and end in a text: which of them lie wholly before or behind a place.

Offsets of the tokenizers library, with one thing mended: byte-level tokenizers leave the spaces at
a token's ends out of them, so that a token " What" seems to begin behind its space.
"""

from typing import Any

SPACE = "\u0120"  # how byte-level tokenizers write a space


def num_within(encoding: Any, text: str, end: int) -> int:
    """How many of the first tokens lie wholly in `text[:end]`.

    Args:
        encoding: An encoding of the tokenizers library.
        text: The text that was encoded.
        end: A place between two characters of it.
    """
    # From the token of the next character backwards; a space may have none.
    place = encoding.char_to_token(end) if end < len(text) else None
    count: int = len(encoding) if place is None else place
    trimmed = text[end : end + 1] == " "
    while count and _end(encoding, text, count - 1, trimmed) > end:
        count -= 1
    return count


def num_behind(encoding: Any, text: str, start: int) -> int:
    """How many of the last tokens lie wholly in `text[start:]`; see `num_within`."""
    first: int = len(encoding)
    trimmed = text[start - 1 : start] == " "
    while first and _start(encoding, text, first - 1, trimmed) >= start:
        first -= 1
    return len(encoding) - first


def _start(encoding: Any, text: str, index: int, trimmed: bool) -> int:
    start, end = encoding.token_to_chars(index)
    if not trimmed:
        return int(start)
    token: str = encoding.tokens[index]
    spaces = len(token) - len(token.lstrip(SPACE))
    if text[start:end].startswith(" ") or text[start - spaces : start] != " " * spaces:
        return int(start)
    return int(start - spaces)


def _end(encoding: Any, text: str, index: int, trimmed: bool) -> int:
    start, end = encoding.token_to_chars(index)
    if not trimmed:
        return int(end)
    token: str = encoding.tokens[index]
    if start == end:
        # Spaces that a text begins with are trimmed to its start; others to their end.
        at_start = end == 0 and token and not token.strip(SPACE)
        return len(token) if at_start and text.startswith(" " * len(token)) else int(end)
    spaces = len(token) - len(token.rstrip(SPACE))
    if text[start:end].endswith(" ") or text[end : end + spaces] != " " * spaces:
        return int(end)
    return int(end + spaces)

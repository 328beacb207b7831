"""From a text to its words, in any script, with their places."""

import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import regex

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.scoring.signs import BETWEEN_WORDS, readable

# Every other character than letters, marks, digits, "." and "," and the signs that belong to a
# word is a space by now, so [^\s.,] is "part of a word". Tried in this order:
_WORD = regex.compile(
    # Numbers. Not "4,1776" (a date written without blank) and not "9.18.1971".
    r"(?<!\d[.,])-?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)(?![.,]?\d)"
    # Initials, one word however they are written: U.S. = U. S. = u.s
    r"|(?<![^\s.,])[^\W\d_](?:\.(?:[^\W\d_](?![^\s.,])| [^\W\d_](?=\.)))+"
    r"|[^\s.,]+"
)
_DIGIT = regex.compile(r"-?\d")
# Scripts that write no blanks between words. Loan words in katakana are words by themselves.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_HAS_UNSPACED = regex.compile(rf"[{_UNSPACED}\p{{Katakana}}]")
_CHARACTERS = regex.compile(
    rf"[\p{{Katakana}}\u30fc]+\p{{M}}*|[{_UNSPACED}]\p{{M}}*"
    rf"|[^{_UNSPACED}\p{{Katakana}}\u30fc]+|\u30fc"
)

Borders = Callable[[str], frozenset[int]]
"""From a readable text to the places where its words begin and end."""


class Word(NamedTuple):
    """A word and where it stands.

    Attributes:
        text: In lower case, numbers without thousands commas, initials without dots.
        written: As it stands in the text, the same commas and dots left out.
        start, end: Its place in the `readable` text.
    """

    text: str
    written: str
    start: int
    end: int

    @property
    def is_unspaced(self) -> bool:
        """Whether it is a character of a script without blanks between words."""
        return has_unspaced(self.text[:1])


def has_unspaced(text: str) -> bool:
    """Whether a text has characters of scripts without blanks between words."""
    return not text.isascii() and bool(_HAS_UNSPACED.search(text))


@lru_cache(maxsize=1 << 16)
def words_in(text: str) -> tuple[Word, ...]:
    """Split a text into words of letters, marks and digits, in any script.

    Hyphens, apostrophes and other punctuation separate words, but the signs of `A+`, `C#` and
    `-40` belong to theirs. Initials become one word without dots ("U.S." gives "us"), numbers
    keep the decimal point and lose the thousands comma. In scripts without blanks between words
    every character is a word, in katakana every run.
    """
    text = readable(text)
    spaced = BETWEEN_WORDS.sub(lambda found: found["kept"] or " ", text)
    is_unspaced = has_unspaced(spaced)
    found: list[Word] = []
    for match in _WORD.finditer(spaced):
        if is_unspaced and has_unspaced(match[0]):
            for part in _CHARACTERS.finditer(spaced, *match.span()):
                found.append(_word(part[0], *part.span()))
        else:
            found.append(_word(match[0], *match.span()))
    return tuple(found)


def words(text: str) -> list[str]:
    """The words of a text in lower case; see `words_in`."""
    return [word.text for word in words_in(text)]


def _word(found: str, start: int, end: int) -> Word:
    dropped = (",",) if _DIGIT.match(found) else (".", " ")
    written = found
    for char in dropped:
        written = written.replace(char, "")
    lower = written.lower()
    text = lower if lower.isascii() else unicodedata.normalize("NFC", lower)
    return Word(text, written, start, end)


@cache
def icu_borders() -> Borders:
    """Borders of words by ICU, which knows words of scripts without blanks by dictionary.

    Raises:
        UserError: The extra is not installed.
    """
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise UserError(
            "Word borders by ICU were asked for but icu4py is not installed. "
            'Run: pip install "self-ensemble[words]"',
            "SE-0015",
        ) from error

    @lru_cache(maxsize=1 << 16)
    def borders(text: str) -> frozenset[int]:
        spans = WordBreaker(text, "und").segments()
        return frozenset(place for span in spans for place in span)

    return borders


def borders_named(name: str) -> Borders | None:
    """Make the borders that are called `icu`, or None for `characters`.

    Raises:
        UserError: There are no such borders, or they are not installed.
    """
    if name == "characters":
        return None
    if name == "icu":
        return icu_borders()
    raise unknown_name("words", name, ("characters", "icu"))

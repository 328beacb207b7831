"""Text of a prediction in the form in which answers are compared."""

import unicodedata
from functools import lru_cache

from self_ensemble.scoring.signs import has_signs, readable, without_signs

ARTICLES = frozenset({"a", "an", "the"})
_CLAUSE_ENDS = (",", ".", ";", ":", "!", "?", ")", "]")


def first_line(generation: str) -> str:
    """Cut a generation down to its prediction: leading white space off, then up to a newline."""
    return generation.lstrip().split("\n", 1)[0].rstrip()


@lru_cache(maxsize=1 << 16)
def normalise(text: str, *, units: bool = False) -> str:
    """Lower-case a text, drop punctuation and articles, collapse white space.

    The normalisation of SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250), but what carries meaning
    stays: signs in and before numbers and behind letters (see `signs`), an "a" or "an" that ends a
    clause ("vitamin A", "Hoi An"), and a capital A amid small letters. Signs of all scripts count
    as punctuation. A text of nothing but articles or symbols keeps them.

    Args:
        text: Any text.
        units: Keep the signs of money, per cent and degrees beside numbers.
    """
    normal = _once(text, units)
    # A sign that goes may leave the next one behind a letter. A pass only ever takes away.
    while has_signs(normal) and (again := _once(normal, units)) != normal:
        normal = again
    return normal


@lru_cache(maxsize=1 << 16)
def with_articles(text: str, *, units: bool = False) -> str:
    """The same with all articles in their places."""
    return " ".join(_lower(without_signs(readable(text), units=units)).split())


def is_no_answer(prediction: str) -> bool:
    """Whether nothing is left of the prediction after normalisation."""
    return not normalise(prediction)


def _once(text: str, units: bool) -> str:
    text = readable(text)
    # Signs need their neighbours across blanks ("> 5"), so they go before the text is split.
    said = without_signs(text, units=units).split()
    if not said:
        return "".join(char for char in text if _is_symbol(char))
    words = [_lower(word) for word in said]
    if not any(word in ARTICLES for word in words):
        return " ".join(words)
    raw = [word for word in text.split() if any(map(_is_said, word))]
    kept = [
        said[i] if said[i] == "A" and not _ends(raw, i) else word
        for i, word in enumerate(words)
        if word not in ARTICLES or _carries_meaning(raw, said, i)
    ]
    return " ".join(kept if any(word not in ARTICLES for word in words) else words)


def _carries_meaning(raw: list[str], said: list[str], i: int) -> bool:
    if len(raw) != len(said) or i == 0:
        return False
    if _ends(raw, i):
        # "Streetcar Named Desire, A" is turned round.
        return said[i].lower() != "the" and not raw[i - 1].endswith(",")
    starts = raw[i - 1].endswith((".", "!", "?", ":"))
    return raw[i] == "A" and raw[i + 1][0].islower() and not starts


def _ends(raw: list[str], i: int) -> bool:
    return len(raw) <= i + 1 or raw[i].endswith(_CLAUSE_ENDS)


def _lower(text: str) -> str:
    if text.isascii():
        return text.lower()
    # A letter and its accent may have met only when the sign between them went.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _is_said(char: str) -> bool:
    return unicodedata.category(char)[0] not in "PSZC"


def _is_symbol(char: str) -> bool:
    return unicodedata.category(char)[0] == "S" or char in "#%&*@/\\"

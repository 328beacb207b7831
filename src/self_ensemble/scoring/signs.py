"""Signs that carry meaning: the two that make `C++` of a C, the point of `3.5`, the dash of `-40`.

Every other punctuation mark and symbol is dropped where answers are compared, as SQuAD does it.
"""

import unicodedata
from functools import lru_cache

import regex

# Places in [V0 A&&B] style sets need regex; `re` knows no scripts and no categories.
_ON_WORDS = (
    # A+, C++, UTC+1; C#, B flat
    r"(?<=\p{L}|\p{L}\+)\+|(?<=\p{L})[#\u266d]"
    # A*; not the second star of *A*
    r"|(?<=(?<![\p{L}\p{N}*])\p{L})\*(?![\p{L}\p{N}*])"
    # A-, AB-, i--
    r"|(?<=(?<![\p{L}\p{N}])(?:\p{L}|[Aa][Bb]))-(?![\p{L}\p{N}-])"
    r"|(?<=(?<![\p{L}\p{N}])\p{L}-?)-(?=-?(?![\p{L}\p{N}-]))"
    # -40, -.5, -$5; not 1939-40, x-4, (5)-4
    r"|(?<![\p{L}\p{N})\]%])-(?=\p{Sc}?\.?\p{N})"
)
_WITH_NUMBERS = (
    # 3.5, 10:30, 1/2, 2^3, 1939-45, 2**3
    r"|(?<=\p{N})[\p{P}\p{S}]+(?=\p{N})|(?<=[\p{L}\p{N})])\^(?=[\p{L}\p{N}({-])"
    # 18+, .5, >5, +-5
    r"|(?<=\p{N})\+|(?<![\p{L}\p{N}.])\.(?=\p{N})|[<>\u2264\u2265\u00b1\u221a](?=\s*[-\p{Sc}]?\.?\p{N})"
    r"|[!=]="
)
_UNITS = r"(?<=\p{N}\s?)[\p{Sc}%\u2030\u00b0]|\p{Sc}(?=\s?\.?\p{N})"

# All but letters, marks, digits, blanks, "." and ",", with what belongs to a word as `kept`.
BETWEEN_WORDS = regex.compile(rf"(?P<kept>{_ON_WORDS})|[^\p{{L}}\p{{M}}\p{{N}}., ]")
_SIGN = regex.compile(rf"(?P<kept>{_ON_WORDS}{_WITH_NUMBERS})|[\p{{P}}\p{{S}}]")
_SIGN_BUT_UNITS = regex.compile(rf"(?P<kept>{_ON_WORDS}{_WITH_NUMBERS}|{_UNITS})|[\p{{P}}\p{{S}}]")
_UNIT = regex.compile(_UNITS)
# The same units in words: "5 euros" is not $5.
_UNIT_WORDS = {
    "dollar": "$", "euro": "\u20ac", "pound": "\u00a3", "yen": "\u00a5", "rupee": "\u20b9",
    "percent": "%", "per cent": "%",
}  # fmt: skip
_UNIT_WORD = regex.compile(
    rf"(?<=\p{{N}}[\s-]?(?:(?:thousand|[mbtr]+illion)\s)?)({'|'.join(_UNIT_WORDS)})s?\b", regex.I
)
_COMPARISON = regex.compile(r"[<>\u2264\u2265](?=\s*[-\p{Sc}]?\.?\p{N})|[!=]=")
_THOUSANDS = regex.compile(r"(?<![\p{N}][\p{P}\p{S}]?)\p{N}{1,3}(?:,\p{N}{3})+(?!\p{N})")
# Letters of another width are the same letters, and so are these signs.
_SAME = str.maketrans("\u2010\u2011\u2012\u2013\u2212\u2044\u2215\u2019\u02bc\u266f", "-----//''#")


@lru_cache(maxsize=1 << 16)
def readable(text: str) -> str:
    """Bring a text to one spelling of what nobody can tell apart by eye.

    NFC; no characters without width (zero-width blanks, soft hyphens, marks of direction);
    full-width and half-width letters, digits and signs as ordinary ones; one kind of hyphen,
    apostrophe, fraction bar and sharp.
    """
    if text.isascii():
        return text
    seen = "".join(map(_seen, text))
    return unicodedata.normalize("NFC", seen).translate(_SAME)


@lru_cache(maxsize=1 << 16)
def units_of(text: str) -> frozenset[str]:
    """The signs of money, per cent and degrees that stand beside numbers."""
    return frozenset(_UNIT.findall(readable(text)))


def has_signs(text: str) -> bool:
    """Whether a text has punctuation or symbols."""
    return bool(_SIGN.search(text))


def signs_differ(text: str, other: str) -> bool:
    """Whether both texts have signs of one kind beside numbers, and none in common.

    The kinds are money with per cent and degrees, also in words, and comparisons.
    """
    return _are_apart(_units_said(text), _units_said(other)) or _are_apart(
        _comparisons(text), _comparisons(other)
    )


def _are_apart(ours: frozenset[str], theirs: frozenset[str]) -> bool:
    return bool(ours and theirs) and ours.isdisjoint(theirs)


@lru_cache(maxsize=1 << 16)
def _units_said(text: str) -> frozenset[str]:
    words = _UNIT_WORD.findall(readable(text))
    return units_of(text) | {_UNIT_WORDS[word.lower()] for word in words}


@lru_cache(maxsize=1 << 16)
def _comparisons(text: str) -> frozenset[str]:
    return frozenset(_COMPARISON.findall(readable(text)))


def without_signs(text: str, *, units: bool = False) -> str:
    """Drop the punctuation and symbols of a readable text that carry no meaning.

    Args:
        text: See `readable`.
        units: Also keep the signs of money, per cent and degrees beside numbers.
    """
    pattern = _SIGN_BUT_UNITS if units else _SIGN
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    return pattern.sub(lambda found: found["kept"] or "", text)


def _seen(char: str) -> str:
    if unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f":
        return ""
    if unicodedata.decomposition(char).startswith(("<wide>", "<narrow>")):
        return unicodedata.normalize("NFKC", char)
    return char

"""One way of writing letters and digits: no marks, no forms for print, digits of one script."""

import unicodedata
from functools import lru_cache

import regex

from self_ensemble.scoring.signs import readable

# Accents of Latin, Greek and Cyrillic, vowel signs of Hebrew and Arabic, the Arabic stretcher. The
# vowels of Indian scripts and Thai and the voicing marks of kana are letters and stay.
_MARKS = regex.compile(r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]")
_UMLAUTS = str.maketrans(
    {
        "\u00e4": "ae",
        "\u00f6": "oe",
        "\u00fc": "ue",
        "\u00c4": "Ae",
        "\u00d6": "Oe",
        "\u00dc": "Ue",
    }
)
_NO_DECOMPOSITION = str.maketrans(
    {
        "\u00e6": "ae",
        "\u00c6": "AE",
        "\u0153": "oe",
        "\u0152": "OE",
        "\u00f8": "o",
        "\u00d8": "O",
        "\u0142": "l",
        "\u0141": "L",
        "\u0111": "d",
        "\u0110": "D",
        "\u00f0": "d",
        "\u00d0": "D",
        "\u00fe": "th",
        "\u00de": "Th",
        "\u0131": "i",
        "\u00df": "ss",
        "\u1e9e": "SS",
        # Letters of Arabic with and without hamza, of Persian and of Arabic
        "\u0623": "\u0627",
        "\u0625": "\u0627",
        "\u0622": "\u0627",
        "\u0671": "\u0627",
        # Forms of Arabic letters at the end of a word
        "\u0629": "\u0647",
        "\u0649": "\u064a",
        "\u06cc": "\u064a",
        "\u06a9": "\u0643",
    }
)


def with_german_umlauts(text: str) -> str:
    """Write the umlauts of German as two letters: "Mueller"."""
    return readable(text).translate(_UMLAUTS)


@lru_cache(maxsize=1 << 16)
def plain_letters(text: str) -> str:
    """Bring letters and digits to their plainest form; case stays.

    Superscript digits become powers ("10^2"), fractions are written out ("1/2").
    """
    text = readable(text)
    if text.isascii():
        return text
    compatible = "".join(_plain(text, i) for i in range(len(text)))
    bare = _MARKS.sub("", unicodedata.normalize("NFD", compatible.translate(_NO_DECOMPOSITION)))
    return readable(bare)


def _plain(text: str, i: int) -> str:
    char = text[i]
    if unicodedata.category(char) == "Nd":
        return str(unicodedata.digit(char))
    kind = unicodedata.decomposition(char).partition(" ")[0]
    if kind not in {"<super>", "<fraction>"}:
        return unicodedata.normalize("NFKC", char) if kind.startswith("<") else char
    written = unicodedata.normalize("NFKC", char)
    if kind == "<fraction>":
        return f" {written}" if text[i - 1 : i].isdigit() else written
    if not written.isdigit():
        return ""  # the trade mark sign and its like
    is_power = text[i - 1 : i].isalnum() and not _is_superscript(text[i - 1])
    return f"^{written}" if is_power else written


def _is_superscript(char: str) -> bool:
    return unicodedata.decomposition(char).startswith("<super>")

"""Numbers and quantities in one form: "1,5 million", "twelve", "World War II", "5 kilometres"."""

from decimal import Decimal
from functools import cache, lru_cache

import regex
from babel.units import format_unit
from roman_numerals import InvalidRomanNumeralError, RomanNumeral
from text_to_num import alpha2digit

from self_ensemble.scoring.letters import plain_letters

_LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl")
_MULTIPLES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Only from the first digit of a number: from every one, a model's 9999... takes quadratic time.
_MULTIPLE = regex.compile(
    rf"(?<!\d,?)(\d[\d,]*+(?:\.\d++)?)[\s-]?({'|'.join(_MULTIPLES)})s?\b", regex.I
)
_GROUPED = regex.compile(
    r"(?<![\d.,])\d{1,3}(?:([ ',])\d{3}(?:\1\d{3})*|(?:\.\d{3}){2,}|(?:,\d{2})+,\d{3})(?!\d)"
)
_GERMAN = regex.compile(r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+),(\d+)(?![\d.,])")
_DECIMAL_COMMA = regex.compile(r"(?<![\d.,])(\d+),(\d{1,2})(?![\d,]|\.\d)")
_NO_WHOLE = regex.compile(r"(?<![\p{L}\p{N}.])\.(?=\d)")
_ZEROS = regex.compile(r"(?<![\d.])(\d+)(?:\.0+|(\.\d*?[1-9])0+)(?![\d.]*\d)")
_PERCENT = regex.compile(r"(?<=\d)\s*(?:%|per ?cent\b|pct\b)", regex.I)
_MONEY = {"$": "dollar", "\u20ac": "euro", "\u00a3": "pound", "\u00a5": "yen", "\u20b9": "rupee"}
_AMOUNT = regex.compile(r"([$\u20ac\u00a3\u00a5\u20b9])\s?(-?\d[\d.,]*\d|\d)")
_AMOUNT_BEHIND = regex.compile(r"(?<=\d)\s?([$\u20ac\u00a3\u00a5\u20b9])")
_NUMBER = regex.compile(r"\d+(?:\.\d+|st|nd|rd|th)?")
_DIGIT = regex.compile(r"\d")
_MINUS = regex.compile(r"\b[Mm]inus\s(?=\d)")
_MORE_THAN_ONE = 1.5
_FIRST = regex.compile(r"\bfirst\b", regex.I)
# "Air Force One" has a number, "one of them" has none.
_NAMED_ONE = regex.compile(r"(?<=\b\p{Lu}[\p{L}.]*\s)One\b(?!\s\p{Ll})")
# The one letter I is a pronoun before a verb; C, D, L and M are letters more often than numbers.
_PRONOUN = (
    r"\s(?:am|was|think|believe|guess|have|had|do|don|did|know|can|could|will|would|say)\b|'"
)
_ROMAN = regex.compile(
    rf"(?<=\b\p{{Lu}}\p{{L}}+\s)([IVXLCDM]{{2,}}|[VX]|(?<=\bWar\s)I|I(?!{_PRONOUN}))"
    r"(?![\p{L}\p{N}]|['.]\p{L})"
)
_NUMBERED_KING = regex.compile(r"(?<=\b\p{Lu}\p{L}+\s)the (\d+)(?:st|nd|rd|th)\b(?!\s\p{L})")
_WORLD_WAR = regex.compile(r"\b([12])(?:st|nd) World War\b", regex.I)
_UNITS = (
    *("length-kilometer", "length-meter", "length-centimeter", "length-millimeter"),
    *("length-mile", "length-foot", "length-yard", "length-inch", "length-light-year"),
    *("mass-kilogram", "mass-gram", "mass-milligram", "mass-tonne", "mass-pound", "mass-ounce"),
    *("volume-liter", "volume-milliliter", "volume-gallon"),
    *("temperature-celsius", "temperature-fahrenheit", "temperature-kelvin"),
    *("speed-kilometer-per-hour", "speed-mile-per-hour", "speed-meter-per-second"),
    *("area-square-kilometer", "area-square-meter", "area-square-mile", "area-hectare"),
    *("area-acre", "duration-hour", "duration-minute", "duration-second", "duration-year"),
    *("power-watt", "power-kilowatt", "frequency-hertz", "digital-gigabyte", "digital-megabyte"),
)


def has_digits(text: str) -> bool:
    """Whether there is a digit, which most rules need: one look instead of many."""
    return _DIGIT.search(text) is not None


def number_in_words(text: str) -> str:
    """Digits for a text that is nothing but a number in words, in seven languages."""
    bare = text.strip(" .,!?").lower()
    if bare and not has_digits(bare):
        for language in _languages_of(bare.partition(" ")[0]):
            number = str(alpha2digit(bare, language, 0))
            if _NUMBER.fullmatch(number):
                return number
    return text


@lru_cache(maxsize=1 << 16)
def _languages_of(word: str) -> tuple[str, ...]:
    """The languages in which a number may begin with a word."""
    return tuple(code for code in _LANGUAGES if has_digits(str(alpha2digit(word, code, 0))))


def with_digits(text: str) -> str:
    """Write the English numbers of a text in digits, as "1500000" or "21st"."""
    if has_digits(text):
        text = _MULTIPLE.sub(_product, text)
    if any(char.isalpha() for char in text):
        # "one" by itself is a pronoun more often than a number; "first" is worth no less than 1st.
        text = _FIRST.sub("1st", _NAMED_ONE.sub("1", alpha2digit(text, "en", _MORE_THAN_ONE)))
    return _MINUS.sub("-", text)


def with_plain_numbers(text: str) -> str:
    """Rewrite digits and Roman numbers of a text: no grouping, a decimal point, plain units."""
    text = _ROMAN.sub(_arabic, text)
    if not has_digits(text):
        return text
    text = _WORLD_WAR.sub(r"World War \1", _NUMBERED_KING.sub(r"\1", text))
    text = _GERMAN.sub(lambda found: f"{found[1].replace('.', '')}.{found[2]}", text)
    text = _GROUPED.sub(lambda found: regex.sub(r"\D", "", found[0]), text)
    text = _NO_WHOLE.sub("0.", _DECIMAL_COMMA.sub(r"\1.\2", text))
    text = _ZEROS.sub(lambda found: found[1] + (found[2] or ""), text)
    return _quantities(text)


def _product(found: "regex.Match[str]") -> str:
    number = Decimal(found[1].replace(",", "")) * _MULTIPLES[found[2].lower()]
    return f"{number.normalize():f}"


def _arabic(found: "regex.Match[str]") -> str:
    try:
        return str(int(RomanNumeral.from_string(found[1])))
    except InvalidRomanNumeralError:
        return found[0]


def _quantities(text: str) -> str:
    text = _PERCENT.sub(" percent", text)
    text = _AMOUNT.sub(lambda found: f"{found[2]} {_MONEY[found[1]]}", text)
    text = _AMOUNT_BEHIND.sub(lambda found: f" {_MONEY[found[1]]}", text)
    pattern, names = _units()
    return pattern.sub(lambda found: f" {names[found[1].lower()]}", text)


@cache
def _units() -> tuple["regex.Pattern[str]", dict[str, str]]:
    """Names of units behind a number, as they are written in Britain and America."""
    names: dict[str, str] = {}
    for unit in _UNITS:
        plain = unit.split("-", 1)[1].replace("-", "")
        for length in ("long", "short"):
            for locale in ("en_US", "en_GB"):
                for number in (1, 2):
                    written = format_unit(number, unit, length, locale=locale)
                    name = written.replace(str(number), "", 1).strip().lower()
                    # "5 in 1990" is no length.
                    if name != "in":
                        names.setdefault(name, plain)
                        names.setdefault(plain_letters(name), plain)
    either = "|".join(map(regex.escape, sorted(names, key=len, reverse=True)))
    return regex.compile(rf"(?<=\d)[\s-]?({either})(?![\p{{L}}\p{{N}}])\.?", regex.I), names

"""Dates in one form: "9/18/1971" and "the 18th of September, 1971" become "1971 month9 day18".

From the largest part to the smallest, so that a year, a year with month and a month with day are
each a run of words of the date they belong to.
"""

from functools import cache

import regex
from babel.dates import get_month_names

from self_ensemble.scoring.letters import plain_letters
from self_ensemble.scoring.numerals import has_digits

_LOCALES = (
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "sv",
    "da",
    "nb",
    "fi",
    "pl",
    "cs",
    "ru",
    "tr",
    "id",
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.|\u00ba)?"
_YEAR = r"(?P<year>\d{3,4})(?![\d/-])"
_NUMERIC = (
    # 1971-09-18 and 1971/9/18; 1971.09.18
    regex.compile(
        r"(?<![\d/.-])(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})(?![\d/-])"
    ),
    regex.compile(
        r"(?P<year>\d{3,4})\s?[\u5e74\ub144]\s?(?P<month>\d{1,2})\s?[\u6708\uc6d4]"
        r"(?:\s?(?P<day>\d{1,2})\s?[\u65e5\u53f7\u865f\uc77c])?"
    ),
    regex.compile(
        r"(?P<month>\d{1,2})\s?[\u6708\uc6d4]\s?(?P<day>\d{1,2})\s?[\u65e5\u53f7\u865f\uc77c]"
    ),
)
# 9/18/1971 is American where it can be, 18.9.1971 is not.
_TWO_READINGS = regex.compile(
    r"(?<![\d/.-])(?P<first>\d{1,2})(?P<sign>[-/.])(?P<second>\d{1,2})(?P=sign)(?P<year>\d{4})(?![\d/-])"
)


def with_plain_dates(text: str) -> str:
    """Rewrite every date of a text with plain letters; what is no date stays.

    Days stand before months in dates with points ("18.9.1971") and where the first number
    cannot be a month; elsewhere months stand first ("9/18/1971"). Names of months are known in 16
    languages beside a year, in English without.
    """
    if not has_digits(text):
        return text
    for pattern in _NUMERIC:
        text = pattern.sub(_plain, text)
    text = _TWO_READINGS.sub(_plain_of_two_readings, text)
    # One look instead of five for a text without the name of a month.
    if _month_name().search(text):
        for pattern in _named():
            text = pattern.sub(_plain, text)
    return text


@cache
def _months() -> dict[str, int]:
    """Names of months in lower case, without marks and points; English wins."""
    numbers: dict[str, int] = {"sept": 9}
    for locale in _LOCALES:
        for width in ("wide", "abbreviated"):
            for context in ("format", "stand-alone"):
                for number, name in get_month_names(width, context, locale).items():
                    numbers.setdefault(plain_letters(name).lower().strip("."), number)
    return {name: number for name, number in numbers.items() if name.isalpha()}


@cache
def _month_name() -> regex.Pattern[str]:
    return regex.compile(rf"(?<!\p{{L}})(?:{'|'.join(_months())})(?!\p{{L}})", regex.IGNORECASE)


@cache
def _named() -> tuple[regex.Pattern[str], ...]:
    def one_of(names: list[str]) -> str:
        return rf"(?P<name>{'|'.join(sorted(names, key=len, reverse=True))})(?!\p{{L}})\.?"

    every = one_of(list(_months()))
    english = one_of(
        [
            plain_letters(name).strip(".")
            for width in ("wide", "abbreviated")
            for name in (*get_month_names(width, "format", "en").values(), "Sept")
        ]
    )
    of = r"(?:\s+(?:of|de|del|di)\b|,)?"
    start = r"(?<![\p{L}\p{N}/.-])"
    whole = (
        rf"{start}{every}\s+(?:the\s+)?{_DAY},?\s+{_YEAR}",
        rf"{start}{_DAY}{of}\s+{every}{of}\s+{_YEAR}",
        rf"{start}{every}{of}\s+{_YEAR}",
    )
    # "may 5" may be a verb, so a month without year has its capital.
    parts = (
        rf"{start}{english}\s+(?:the\s+)?{_DAY}(?![\d:/-])",
        rf"{start}{_DAY}(?:\s+of)?\s+{english}",
    )
    return (
        *(regex.compile(pattern, regex.IGNORECASE) for pattern in whole),
        *(regex.compile(pattern) for pattern in parts),
    )


def _plain(found: "regex.Match[str]") -> str:
    parts = found.groupdict()
    month = _months()[parts["name"].lower()] if "name" in parts else int(parts["month"])
    return _written(found[0], parts.get("year"), month, parts.get("day"))


def _plain_of_two_readings(found: "regex.Match[str]") -> str:
    first, second = int(found["first"]), int(found["second"])
    day_first = (found["sign"] == "." or first > 12) and second <= 12
    month, day = (second, first) if day_first else (first, second)
    return _written(found[0], found["year"], month, str(day))


def _written(text: str, year: str | None, month: int, day: str | None) -> str:
    if not 1 <= month <= 12 or (day is not None and not 1 <= int(day) <= 31):
        return text
    parts = [year, f"month{month}", None if day is None else f"day{int(day)}"]
    return f" {' '.join(part for part in parts if part is not None)} "

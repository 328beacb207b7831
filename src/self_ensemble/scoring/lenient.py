"""The lenient rung: a partial match once spelling, numbers, dates and abbreviations are one.

What it does not unify: word order ("Twain, Mark"), middle names, synonyms, amounts in other units.
"""

from collections.abc import Sequence
from functools import lru_cache

import regex

from self_ensemble.questions.patterns import is_pattern
from self_ensemble.scoring.dates import with_plain_dates
from self_ensemble.scoring.lemmas import Lemmatiser, answer_lemmas, predict_lemma
from self_ensemble.scoring.letters import plain_letters, with_german_umlauts
from self_ensemble.scoring.match import partial_verdict
from self_ensemble.scoring.numerals import number_in_words, with_digits, with_plain_numbers
from self_ensemble.scoring.words import Borders

_CAPITAL = r"(?=\s\p{Lu})"
_ABBREVIATIONS = tuple(
    (regex.compile(pattern), whole)
    for pattern, whole in (
        # "Main St." is a street: nothing with a capital follows.
        (rf"\bSt\b\.?{_CAPITAL}", "Saint"),
        (rf"\bSte\b\.?{_CAPITAL}", "Sainte"),
        (rf"\bMt\b\.?{_CAPITAL}", "Mount"),
        (rf"\bFt\b\.?{_CAPITAL}", "Fort"),
        (rf"\bDr\b\.?{_CAPITAL}", "Doctor"),
        (rf"\bProf\b\.?{_CAPITAL}", "Professor"),
        (rf"\bGen\b\.?{_CAPITAL}", "General"),
        (rf"\bCapt\b\.?{_CAPITAL}", "Captain"),
        (rf"\bLt\b\.?{_CAPITAL}", "Lieutenant"),
        (rf"\bCol\b\.?{_CAPITAL}", "Colonel"),
        (rf"\bSgt\b\.?{_CAPITAL}", "Sergeant"),
        (rf"\bGov\b\.?{_CAPITAL}", "Governor"),
        (rf"\bSen\b\.?{_CAPITAL}", "Senator"),
        (rf"\bRev\b\.?{_CAPITAL}", "Reverend"),
        (rf"\bPres\b\.?{_CAPITAL}", "President"),
        (r"(?<=\p{Lu}\p{L}+ )St\b\.?", "Street"),
        (r"(?<=\p{Lu}\p{L}+ )Ave\b\.?", "Avenue"),
        (r"(?<=\p{Lu}\p{L}+ )Rd\b\.?", "Road"),
        (r"(?<=\p{Lu}\p{L}+ )Blvd\b\.?", "Boulevard"),
        (r"\bJr\b\.?", "Junior"),
        (r"\bSr\b\.?", "Senior"),
        (r"\bBros\b\.?", "Brothers"),
        (r"\bvs?\b\.(?=\s)|\bvs\b", "versus"),
        (r"\b[Nn]o\.\s?(?=\d)", "number "),
        (r"(?<=\w)\s*&\s*(?=\w)|[\s-]'?n'?[\s-](?=\p{L})", " and "),
        (r"\bWW\s?(?=(?:II?|[12])\b)", "World War "),
        (r"\bUnited States of America\b|\bU\.? ?S\.? ?A\b\.?|\bU\.S\.|\bUS\b", "United States"),
        (r"\bU\.? ?K\b\.?", "United Kingdom"),
        (r"\bU\.? ?N\b\.?", "United Nations"),
        (r"\bE\.? ?U\b\.?", "European Union"),
    )
)
# One look instead of thirty for most texts.
_MAY_BE_ABBREVIATED = regex.compile(
    r"\b(?:Ste?|Mt|Ft|Dr|Prof|Gen|Capt|Lt|Col|Sgt|Gov|Sen|Rev|Pres|Ave|Rd|Blvd|Jr|Sr|Bros|vs?|WW)\b"
    r"|\bWW|[Nn]o\.|&|[\s-]'?n'?[\s-]|\bU\b|\bU[SKN]\b|\bUSA\b|\bE\.? ?U\b|United States of"
)
_INITIALS = regex.compile(r"\b\p{Lu}(?: \p{Lu})+\b(?!')")
# Not those of "isn't" and "n'est", which deny.
_INSIDE_WORD = regex.compile(r"(?<=\p{L})(?:-|(?<!\b[nN])'(?![tT]\b))(?=\p{L})")
# Endings that Korean writes at the noun.
_KOREAN = regex.compile(
    "(?<=\\p{Hangul}{2})(?:\uc785\ub2c8\ub2e4|\uc774\uc5d0\uc694|\uc608\uc694|\uc774\ub2e4"
    "|\uc5d0\uc11c|\uc740|\ub294|\uc744|\ub97c)(?!\\p{Hangul})"
)


def lenient_match(
    prediction: str,
    answers: Sequence[str],
    lemmatiser: Lemmatiser,
    borders: Borders | None = None,
) -> bool:
    """Whether the prediction is right once both are written in one way.

    A partial match is always a lenient match.

    Args:
        prediction: The prediction's text.
        answers: Accepted answers, at least one.
        lemmatiser: Makes the lemmas.
        borders: See `partial_verdict`.
    """
    if _is_right(prediction, answers, lemmatiser, borders):
        return True
    plain = [answer for answer in answers if not is_pattern(answer)]
    # Mostly a text has one spelling: its own.
    written = dict.fromkeys(zip(*map(spellings, (prediction, *plain)), strict=True))
    written.pop((prediction, *plain), None)
    return any(_is_right(said, wanted, lemmatiser, borders) for said, *wanted in written)


@lru_cache(maxsize=1 << 16)
def spellings(text: str) -> tuple[str, str, str]:
    """Write a text in one way, three times.

    Returns:
        With hyphens and apostrophes inside words, without them, and with "ue" for u umlaut.
    """
    plain = _one_spelling(text)
    return plain, _INSIDE_WORD.sub("", plain), _one_spelling(with_german_umlauts(text))


@lru_cache(maxsize=1 << 16)
def _one_spelling(text: str) -> str:
    text = plain_letters(number_in_words(text))
    if _MAY_BE_ABBREVIATED.search(text):
        for pattern, whole in _ABBREVIATIONS:
            text = pattern.sub(whole, text)
    text = _INITIALS.sub(lambda found: found[0].replace(" ", ""), text)
    return with_plain_numbers(with_plain_dates(with_digits(_KOREAN.sub("", text))))


def _is_right(
    prediction: str, answers: Sequence[str], lemmatiser: Lemmatiser, borders: Borders | None
) -> bool:
    lemmas = predict_lemma(prediction, lemmatiser), answer_lemmas(answers, lemmatiser)
    return partial_verdict(prediction, answers, *lemmas, borders=borders) == "right"

"""Accepted answers of one or two characters inside a longer answer.

"no", "12", "C" turn up by chance in other words' company, so their place and case must say that
they are the answer.
"""

import calendar
from collections.abc import Iterator, Sequence

import regex

from self_ensemble.scoring.words import Word

LONGEST_SHORT = 2

# "The answer is C", "Stephen King's It", "an ox".
_LEADS = frozenset(
    {"is", "was", "are", "were", "be", "called", "named", "s", "a", "an", "the", "letter"}
    | {"answer", "option", "choice", "symbol", "grade", "formula", "code", "abbreviation", "type"}
)
_MONTHS = frozenset(
    name.lower() for name in (*calendar.month_name, *calendar.month_abbr, "sept") if name
)
_CLAUSE_END = regex.compile(r"[^\p{L}\p{N}\s'/+&-]|\s-\s|--")
_JOINED = regex.compile(r"[\p{L}\p{N}'/:.-]")


def is_short(answer: Sequence[Word]) -> bool:
    """Whether an answer has one or two characters, or one of a script without blanks."""
    if any(word.is_unspaced for word in answer):
        return len(answer) == 1 and len(answer[0].text) == 1
    # A Korean letter is a syllable.
    sizes = (2 if _is_hangul(char) else 1 for word in answer for char in word.text)
    return sum(sizes) <= LONGEST_SHORT


def short_answer_places(text: str, found: Sequence[Word], answer: Sequence[Word]) -> Iterator[int]:
    """Where a short answer stands as the answer.

    Args:
        text: The readable text.
        found: All its words.
        answer: The words of the short answer, without article.

    Yields:
        Index of its first word in `found`.
    """
    for i in range(len(found) - len(answer) + 1):
        here = found[i : i + len(answer)]
        same = [word.text for word in here] == [word.text for word in answer]
        if same and _is_the_answer(text, found, i, here, answer):
            yield i


def _is_the_answer(
    text: str, found: Sequence[Word], i: int, here: Sequence[Word], answer: Sequence[Word]
) -> bool:
    wanted = "".join(word.written for word in answer)
    opens, closes = _opens(text, found, i), _closes(text, found, i + len(here))
    if len(here) == 1 and here[0].is_unspaced:
        return _stands_alone(found, i)
    if wanted.lstrip("-").isdigit():
        return _is_only_number(text, found, i)
    same_case = "".join(word.written for word in here) == wanted
    if opens and closes and (same_case or i == 0):
        return True
    if not same_case:
        return False
    if wanted.isupper() and len(wanted) == LONGEST_SHORT:
        return not text.isupper()
    return closes and i > 0 and found[i - 1].text in _LEADS


def _is_only_number(text: str, found: Sequence[Word], i: int) -> bool:
    """No part of a date, time, fraction or code, and no choice ("5 or 6")."""
    here = found[i]
    if sum(any(map(str.isdigit, word.text)) for word in found) > 1:
        return False
    if _JOINED.match(text[here.start - 1 : here.start]) or regex.match(
        r"[-'/:.]?[\p{L}\p{N}]", text[here.end : here.end + 2]
    ):
        return any(word.is_unspaced for word in found[max(i - 1, 0) : i + 2])
    near = {word.text for word in found[max(i - 1, 0) : i + 2]}
    return not near & _MONTHS


def _stands_alone(found: Sequence[Word], i: int) -> bool:
    """One Chinese character beside no other one: not the first of a longer word."""
    beside = (*found[max(i - 1, 0) : i], *found[i + 1 : i + 2])
    return not any(
        _is_han(word.text) and (word.end == found[i].start or word.start == found[i].end)
        for word in beside
    )


def _is_hangul(char: str) -> bool:
    return "\uac00" <= char <= "\ud7a3"


def _is_han(text: str) -> bool:
    return bool(regex.match(r"\p{Han}", text))


def _opens(text: str, found: Sequence[Word], i: int) -> bool:
    return i == 0 or bool(_CLAUSE_END.search(text, found[i - 1].end, found[i].start))


def _closes(text: str, found: Sequence[Word], end: int) -> bool:
    behind = found[end].start if end < len(found) else len(text)
    return end == len(found) or bool(_CLAUSE_END.search(text, found[end - 1].end, behind))

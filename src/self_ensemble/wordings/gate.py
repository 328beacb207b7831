"""The quality gate: may a wording stand for its original, and if not, why.

Pure functions on texts. The rules look at the surface only, so they are cheap and explainable; a
wording that passes may still mean something else (see `checks` for the round trip). Every rule
was chosen so that wordings which people wrote pass it.

A text is a *question*, or a *cloze* sentence whose answer's place is `[MASK]`; the rule that a
question must stay one holds for the first, that the blank must stay holds for the second.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal, get_args

from self_ensemble.scoring.normalise import normalise
from self_ensemble.scoring.short_answers import LONGEST_SHORT
from self_ensemble.scoring.words import words
from self_ensemble.wordings.asked import asks_for, is_question
from self_ensemble.wordings.names import content_words, name_words, occurs, word_forms
from self_ensemble.wordings.styles import BLANK

Reason = Literal[
    "empty",
    "echo",
    "duplicate",
    "not_a_question",
    "lost_blank",
    "too_long",
    "too_short",
    "answer_leaked",
    "lost_number",
    "new_number",
    "lost_entity",
    "new_entity",
    "asks_else",
    "off_topic",
    "unlikely",
    "check_answer",
    "check_nli",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

# Of 824 pairs of wordings written by people, the shortest has 0.38 and the longest 2.2 times the
# words of its partner; the extra words serve short originals.
SHORTEST, LONGEST, EXTRA_WORDS = 1 / 3, 2.0, 4
MIN_KEPT = 1 / 3


def rejection(
    original: str, wording: str, answers: Sequence[str], taken: Collection[str] = ()
) -> Reason | None:
    """Why a wording is refused, or None.

    Args:
        original: The original wording.
        wording: The candidate.
        answers: Accepted answers, which it must not give away.
        taken: Normalised texts (`same_text`) of the candidates that were accepted before.

    Returns:
        The first rule that it breaks, in the order of `REASONS`; the last three are not rules
        on texts and are never returned.
    """
    return _form(original, wording, taken) or _content(original, wording, answers)


def same_text(wording: str) -> str:
    """The form in which two wordings count as one: no case, punctuation, articles."""
    return normalise(unicodedata.normalize("NFKC", wording))


def _form(original: str, wording: str, taken: Collection[str]) -> Reason | None:
    text = same_text(wording)
    if not text:
        return "empty"
    if text == same_text(original):
        return "echo"
    if text in taken:
        return "duplicate"
    if wording.count(BLANK) != original.count(BLANK):
        return "lost_blank"
    if BLANK not in original and is_question(original) and not is_question(wording):
        return "not_a_question"
    num_words, num_original = len(wording.split()), len(original.split())
    if num_words > LONGEST * num_original + EXTRA_WORDS:
        return "too_long"
    if num_words < max(2, SHORTEST * num_original):
        return "too_short"
    return None


def _content(original: str, wording: str, answers: Sequence[str]) -> Reason | None:
    is_cloze = BLANK in original
    original, wording = original.replace(BLANK, " "), wording.replace(BLANK, " ")
    if any(_has_answer(wording, one) and not _has_answer(original, one) for one in answers):
        return "answer_leaked"
    before, after = _numbers(original), _numbers(wording)
    if before.keys() - after.keys():
        return "lost_number"
    # Counted, because a small model likes to write the year twice.
    if after - before:
        return "new_number"
    if not all(occurs(name, word_forms(wording)) for name in name_words(original)):
        return "lost_entity"
    if not _has_quotes(original, wording):
        return "lost_entity"
    if not all(occurs(name, word_forms(original)) for name in name_words(wording)):
        return "new_entity"
    if not asks_for(original).agrees_with(asks_for(wording)):
        return "asks_else"
    content, forms = content_words(original), word_forms(wording)
    if sum(occurs(word, forms) for word in content) < MIN_KEPT * len(content):
        return "off_topic"
    # A cloze says much with "is in"; a question does not.
    return "off_topic" if not is_cloze and _lost_all_but_names(original, wording) else None


def _lost_all_but_names(original: str, wording: str) -> bool:
    """As "Who was Ada Lovelace?" for "Who was Ada Lovelace's father?"."""
    content, names = content_words(original), name_words(original)
    bare = all(occurs(word, names) for word in content_words(wording))
    return bare and not all(occurs(word, names) for word in content)


def _has_answer(text: str, answer: str) -> bool:
    """Whether an answer stands in a text as a run of whole words.

    Aliases of one or two characters ("no", "C") do not count: they turn up by chance.
    """
    if len(normalise(answer)) <= LONGEST_SHORT:
        return False
    # Both ways to write words: "austens" after normalisation, "austen s" as words.
    pairs = ((normalise(answer), normalise(text)), (_spaced(answer), _spaced(text)))
    return any(wanted and f" {wanted} " in f" {found} " for wanted, found in pairs)


def _spaced(text: str) -> str:
    return " ".join(words(text))


def _numbers(text: str) -> Counter[str]:
    return Counter(word for word in words(text) if any(char.isdigit() for char in word))


def _has_quotes(original: str, wording: str) -> bool:
    text = f" {_spaced(wording)} "
    quoted = re.findall(r"[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]", original)
    return all(f" {_spaced(part)} " in text for part in quoted)

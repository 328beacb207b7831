"""Which words of a question are names, which carry its content, and whether they survive.

In ordinary writing a name has a capital inside the sentence. Web users write all in lower case;
there a name is a word that the English dictionary does not know, or knows with a capital only
("australia" is no English word, "Australia" is). The second rule also finds lower-case terms that
no synonym replaces ("xtracycle", "adsense"), so it holds everywhere.

On the 824 pairs of wordings of GraphQuestions and TREC-9 that people wrote, a name by this rule
is lost in 1.6 % of the pairs, among them misspelt words.
"""

import functools
import re
import unicodedata

from self_ensemble.scoring.lemmas import simplemma_lemmatiser
from self_ensemble.scoring.words import words

# Words that say how one asks, not what about: function words, question words, and words such as
# "called" and "kind", which rewordings add and drop freely.
_NOT_CONTENT = """
    a about all also an and any are as at be been being but by call called can could did do does
    doing done during each ever every find for from get give had has have he her him his how i if
    in into is it its just kind know known list locate me might more most much many my name named
    names no not of off on one ones only onto or other our own please re s same say search shall
    she should show so some sort such t tell than that the their them then there these they this
    those to type under up us very was we were what when where which who whom whose why will with
    would you your d ll ve identify
"""
FUNCTION_WORDS = frozenset(_NOT_CONTENT.split())

# Two forms of one word share this many first letters and differ in length by no more than that:
# russia / russian, helen / helens, but not china / chinatown.
MIN_STEM, MAX_ENDING = 4, 3

_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")


def name_words(text: str) -> frozenset[str]:
    """Lower-case words of a text that belong to names, without function words and letters."""
    found = {word for word in words(text) if _unknown_to_dictionary(word)}
    found |= {part for token in _capitals(text) for part in words(token)}
    return frozenset(word for word in found if _counts(word))


def content_words(text: str) -> tuple[str, ...]:
    """Lemmas of a text's words that say what it is about, each once."""
    lemmas = (lemma for lemma in simplemma_lemmatiser()(text) if _counts(lemma))
    return tuple(dict.fromkeys(lemmas))


def word_forms(text: str) -> frozenset[str]:
    """Words and lemmas of a text, in which a word is looked up."""
    return frozenset(words(text)) | frozenset(simplemma_lemmatiser()(text))


def occurs(word: str, forms: frozenset[str]) -> bool:
    """Whether a word stands among the forms of a text, in this or another ending."""
    plain = _without_accents(word)
    return any(_same_word(plain, _without_accents(form)) for form in forms)


def _same_word(one: str, other: str) -> bool:
    if one == other:
        return True
    shorter = min(len(one), len(other))
    num_same = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    return num_same >= max(MIN_STEM, max(len(one), len(other)) - MAX_ENDING)


def _counts(word: str) -> bool:
    return word not in FUNCTION_WORDS and len(word) > 1 and not word[0].isdigit()


@functools.cache
def _unknown_to_dictionary(word: str) -> bool:
    from simplemma import is_known, lemmatize

    return not is_known(word, lang="en") or lemmatize(word, lang="en")[:1].isupper()


def _capitals(text: str) -> list[str]:
    """Words with a capital that does not come from the beginning of a sentence."""
    found = list(_WORD.finditer(text))
    inside = [match for match in found if not _begins_sentence(text, match.start())]
    # In A Title Like This One capitals say nothing.
    if all(match[0][0].isupper() for match in inside):
        return []
    return [match[0] for match in inside if match[0][0].isupper()]


def _begins_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip("\"'\u201c\u2018( ")
    return not before or before[-1] in ".!?:"


def _without_accents(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word)
    return "".join(char for char in decomposed if not unicodedata.combining(char))

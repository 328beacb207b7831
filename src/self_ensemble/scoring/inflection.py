"""Whether two words with one lemma are one word: "Saw" is a film, and "see" is not.

A lemmatiser that looks at one word cannot tell a name from a verb form, so a word that is
written as a name is joined with another form only where the ending is regular.
"""

from functools import lru_cache

from self_ensemble.scoring.words import Word

_PLURALS = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "lice": "louse",
    "men": "man",
    "mice": "mouse",
    "oxen": "ox",
    "people": "person",
    "teeth": "tooth",
    "women": "woman",
}
_NUMBER_ENDINGS = (("", "s"), ("", "es"), ("y", "ies"), ("f", "ves"), ("fe", "ves"))
_LATIN_ENDINGS = (("us", "i"), ("on", "a"), ("um", "a"), ("is", "es"), ("a", "ae"), ("x", "ces"))
_VERB_ENDINGS = (("", "ing"), ("e", "ing"), ("", "ed"), ("e", "ed"), ("y", "ied"))


def is_same_word(said: Word, wanted: Word) -> bool:
    """Whether a word of a prediction may stand for one of an answer that has the same lemma."""
    if said.text == wanted.text:
        return True
    in_prediction = said.written[0].isupper() and said.start > 0
    if not (wanted.written[0].isupper() or in_prediction):
        return True
    one, other = sorted((said.text, wanted.text), key=len)
    if _differ_in_number(one, other):
        return True
    # "Stephen Hawk" is not "Stephen Hawking"; "swim" is "Swimming".
    return not in_prediction and _differ_in_verb_ending(one, other)


@lru_cache(maxsize=1 << 14)
def _differ_in_number(one: str, other: str) -> bool:
    for plural, singular in _PLURALS.items():
        # "fishermen"
        for a, b in ((one, other), (other, one)):
            if a.endswith(plural) and a.removesuffix(plural) + singular == b:
                return True
    return any(
        _ends_differ(a, b, endings)
        for endings in (*_NUMBER_ENDINGS, *_LATIN_ENDINGS)
        for a, b in ((one, other), (other, one))
    )


@lru_cache(maxsize=1 << 14)
def _differ_in_verb_ending(one: str, other: str) -> bool:
    doubled = one + one[-1:]
    return any(_ends_differ(one, other, endings) for endings in _VERB_ENDINGS) or other in {
        doubled + "ing",
        doubled + "ed",
    }


def _ends_differ(one: str, other: str, endings: tuple[str, str]) -> bool:
    ours, theirs = endings
    stem = one.removesuffix(ours)
    return one.endswith(ours) and stem + theirs == other and len(stem) > 1

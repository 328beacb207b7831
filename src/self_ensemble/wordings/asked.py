"""What a question asks for: a person, a place, a time, ...

"Where was he from?" must not become "Who was he?". A question with "what" or "which" in front of
a noun ("which city") may ask for anything, so it agrees with all; "what did he ..." asks for a
thing and agrees with none of the others.
"""

from dataclasses import dataclass
from typing import Literal

from self_ensemble.scoring.words import words

Asked = Literal["person", "place", "time", "reason", "manner", "amount", "thing"]

_MEASURES = "many much old long far tall high big large deep wide fast often"
_QUESTION_WORDS: dict[str, Asked | None] = {
    "who": "person",
    "whom": "person",
    "whose": "person",
    "where": "place",
    "when": "time",
    "why": "reason",
    **dict.fromkeys((f"how {word}" for word in _MEASURES.split()), "amount"),
    "how": "manner",
    "what do": "thing",
    "what does": "thing",
    "what did": "thing",
    "what": None,
    "which": None,
}
_QUESTION_STARTS = frozenset(key.split()[0] for key in _QUESTION_WORDS)
# How a request begins that asks without a question word.
_REQUESTS = """
    define describe determine enumerate find give identify list locate look name say search show
    state tell
"""
_REQUEST_WORDS = frozenset(_REQUESTS.split())


@dataclass(frozen=True, slots=True)
class AsksFor:
    """What the first question word of a text asks for; `kind` is None where it leaves it open."""

    kind: Asked | None

    def agrees_with(self, other: "AsksFor") -> bool:
        """Whether two texts may ask for the same."""
        return self.kind is None or other.kind is None or self.kind == other.kind


def asks_for(text: str) -> AsksFor:
    """Find out by the first question word."""
    found = words(text)
    for index, word in enumerate(found):
        for key in (" ".join(found[index : index + 2]), word):
            if key in _QUESTION_WORDS:
                return AsksFor(_QUESTION_WORDS[key])
    return AsksFor(None)


def is_question(text: str) -> bool:
    """Whether a text asks for something.

    With a question mark it must be the last character, and a question word or a request ("name
    ...") must be there: a statement with a question mark, or a yes-no question, asks for nothing.
    Without one, the text must begin with such a word.
    """
    stripped = text.strip().rstrip("\"'\u201d\u2019)] ")
    found = words(stripped)
    if not found:
        return False
    begins = found[0] in _REQUEST_WORDS | _QUESTION_STARTS
    if "?" not in stripped:
        return begins
    return stripped.endswith("?") and (begins or not _QUESTION_STARTS.isdisjoint(found))

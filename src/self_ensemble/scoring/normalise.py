"""Text of a prediction in the form in which answers are compared."""

import unicodedata

_ARTICLES = frozenset({"a", "an", "the"})


def first_line(generation: str) -> str:
    """Cut a generation down to its prediction: leading white space off, then up to a newline."""
    return generation.lstrip().split("\n", 1)[0].rstrip()


def normalise(text: str) -> str:
    """Lower-case `text` (NFC), drop punctuation and articles, collapse white space.

    The normalisation of SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250), with punctuation and
    symbols of all scripts instead of ASCII only. A text of nothing but articles keeps them:
    "A" is an answer (a blood group, a mark), not an empty one.
    """
    lowered = unicodedata.normalize("NFC", text).lower()
    kept = "".join(char for char in lowered if unicodedata.category(char)[0] not in "PS")
    # Again NFC: a letter and its accent may have met only now.
    words = unicodedata.normalize("NFC", kept).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def is_no_answer(prediction: str) -> bool:
    """Whether nothing is left of the prediction after normalisation."""
    return not normalise(prediction)

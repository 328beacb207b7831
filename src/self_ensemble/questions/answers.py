"""The accepted answers in a value of any kind that data sets of this field write them in."""

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from self_ensemble.questions.rows import Unreadable, WrittenNumber
from self_ensemble.questions.structures import structure_of

# Every text is one answer, whatever it looks like.
NO_SEPARATOR = "none"
# How yes-no questions are answered; BoolQ writes them as true and false.
_YES_NO = {True: ("yes", "true"), False: ("no", "false")}
# What programs write where there is no value.
_PLACEHOLDERS = frozenset({"nan", "NaN", "None", "null", "NULL", "<NA>", "NaT", "<unk>", "#N/A"})
# In lists and objects: what TriviaQA and MS MARCO write where there is no answer.
_UNANSWERED = frozenset({"<unk>", "No Answer Present."})
# An object with other keys may say of a text that it is wrong.
_SQUAD = frozenset({"text", "answerstart", "answerend", "answerid", "id", "start", "end"})
# TriviaQA's first, then ComplexWebQuestions' and MKQA's; and what stands beside them.
_MAIN = ("value", "answer", "text")
_ALIASES = ("aliases", "normalizedaliases", "humananswers")
_BESIDE_ALIASES = frozenset(
    {"type", "entity", "answerid", "normalizedvalue", "matchedwikientityname"}
    | {"normalizedmatchedwikientityname"}
)
_SEPARATORS = (
    "|",
    ";",
    "\n",
    "\r",
    "\t",
    "###",
    "<sep>",
    "[sep]",
    " / ",
    "\x1f",
    "\uff1b",
    "\uff5c",
)
_ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|\w+);", re.IGNORECASE)


def answers_of(value: object, separator: str | None = None) -> tuple[str, ...]:
    """Read the accepted answers.

    Args:
        value: A text, number or boolean, a list of them, a text that is such a list as JSON,
            Python, numpy or Freebase write it, or an object as SQuAD and TriviaQA have it.
        separator: What stands between the answers of a plain text; `NO_SEPARATOR` says that
            every text is one answer as it is; None refuses a text that may be several.

    Returns:
        Empty where there is none: a missing value, an empty list, a blank text.

    Raises:
        ValueError: The value is none of these; the reason goes on after "'answers' is ...".
    """
    if isinstance(value, str):
        return _of_text(value, separator)
    if isinstance(value, list):
        texts = [text for item in value for text in _of_item(item, separator)]
        # SQuAD's annotators often agree.
        agreed = any(isinstance(item, dict) for item in value)
        return _unique(texts) if agreed else tuple(texts)
    if isinstance(value, dict):
        return _of_object(value, separator)
    return _of_scalar(value)


def shown(value: object) -> str:
    """A value and its kind, short enough for a message."""
    kind = "float" if isinstance(value, WrittenNumber) else type(value).__name__
    return f"{kind} {_short(value)}"


def _short(value: object) -> str:
    text = value.text if isinstance(value, WrittenNumber) else repr(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _of_text(text: str, separator: str | None) -> tuple[str, ...]:
    if not text.strip():
        return ()
    if separator == NO_SEPARATOR:
        return (text,)
    try:
        structure = structure_of(text)
    except ValueError as error:
        raise ValueError(
            f"the text {_short(text)}, {error}, or give --answers-separator {NO_SEPARATOR} "
            "if every text is one answer as it stands"
        ) from None
    if structure is not None:
        return answers_of(structure, NO_SEPARATOR)
    if text.strip() in _PLACEHOLDERS:
        raise ValueError(
            f"the text {text.strip()!r}, which programs write where there is no value. Leave the "
            f'value out, or write the answer as ["{text.strip()}"]'
        )
    if separator is not None:
        return tuple(part.strip() for part in text.split(separator) if part.strip())
    text = text.strip("\r\n\t")
    for mark in _SEPARATORS:
        if mark in (_ENTITY.sub("", text) if mark == ";" else text.lower()):
            raise ValueError(
                f"the text {_short(text)}, which is one answer or several separated by {mark!r}. "
                f"Say which: --answers-separator {mark.strip(' ')!r}, or --answers-separator "
                f"{NO_SEPARATOR} if every text is one answer"
            )
    return (text,)


def _of_item(item: object, separator: str | None) -> tuple[str, ...]:
    if isinstance(item, str):
        if separator != NO_SEPARATOR and _holds_texts(item):
            raise ValueError(
                f"a list that holds the text {_short(item)}, a list inside a text. Take off one "
                f"level, or give --answers-separator {NO_SEPARATOR} if it is one answer"
            )
        return (item,) if item.strip() and item not in _UNANSWERED else ()
    if isinstance(item, dict):
        return _of_object(item, separator)
    if isinstance(item, list):
        raise ValueError(f"a list that holds {shown(item)}. Write one list of texts")
    return _of_scalar(item)


def _holds_texts(text: str) -> bool:
    """Whether a text is a list or object with texts in it, or would be one if it were whole."""
    try:
        structure = structure_of(text)
    except ValueError:
        return False
    return structure is not None and any(isinstance(item, str) for item in structure)


def _of_object(value: Mapping[object, object], separator: str | None) -> tuple[str, ...]:
    named = {re.sub(r"[_ ]", "", str(key)).casefold(): item for key, item in value.items()}
    if "text" in named and named.keys() <= _SQUAD:
        return _unique(answers_of(_listed(named["text"]), NO_SEPARATOR))
    keys = (*_MAIN, *_ALIASES)
    # Another key might hold an answer that would be lost.
    if named.keys() & set(_ALIASES) and named.keys() <= {*keys, *_BESIDE_ALIASES}:
        found = [answers_of(_listed(named.get(key)), NO_SEPARATOR) for key in keys]
        return _unique(text for texts in found for text in texts)
    there = ", ".join(repr(str(key)) for key in value) or "none"
    raise ValueError(
        f"an object with the keys {there}, not as SQuAD ('text', "
        "'answer_start') or TriviaQA ('value', 'aliases') have it. Name the key that holds the "
        "answers: --columns answers=COLUMN.KEY"
    )


def _listed(value: object) -> object:
    """A text becomes a list of one, so that it stays as it is."""
    return [value] if isinstance(value, str) else value


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _of_scalar(value: object) -> tuple[str, ...]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ()
    if isinstance(value, bool):
        return _YES_NO[value]
    text = _digits(value)
    if text is None and isinstance(value, Unreadable):
        raise ValueError(f"unreadable: {value.reason}")
    if text is None and isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{shown(value)}, bytes that are no UTF-8 text") from None
    if text is None:
        raise ValueError(
            f"{shown(value)}. Give a text, a number, true or false, or a list of them"
        )
    return (text,) if text.strip() else ()


def _digits(value: object) -> str | None:
    """A number as it is written; None if the value is no number that has digits."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, WrittenNumber) and math.isfinite(value):
        return value.text
    if isinstance(value, float) and math.isfinite(value):
        # Whole numbers of which some are missing are floats to pandas: 1945.0 was 1945.
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    return None

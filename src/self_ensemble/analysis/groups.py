"""Kinds of questions: what they ask for, how long they are, or a column that says it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from self_ensemble.questions.patterns import is_pattern
from self_ensemble.scoring.normalise import normalise
from self_ensemble.scoring.statistics import Estimate, paired_difference, share_interval

ANSWER_TYPE, ANSWER_LENGTH, QUESTION_LENGTH = "answer_type", "answer_length", "question_length"
MADE = (ANSWER_TYPE, ANSWER_LENGTH, QUESTION_LENGTH)
_MONTH = (
    "jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|"
    "oct(ober)?|nov(ember)?|dec(ember)?"
)
_DATE = re.compile(
    rf"(?i)\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2,4}}|\d{{4}}-\d\d-\d\d|(1\d|20)\d\d|"
    rf"(\d{{1,2}}\s+)?({_MONTH})\.?(\s+\d{{1,2}},?)?(\s+\d{{4}})?"
)
_LONGEST = 4


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One file on one kind of question.

    Attributes:
        group: The kind.
        file: The file.
        accuracy: Over its questions, 0 to 1.
        difference: Minus the baseline's, paired; None for the baseline and where there is none.
    """

    group: str
    file: str
    accuracy: Estimate
    difference: Estimate | None


def group_rows(
    groups: Mapping[str, str],
    accuracies: Mapping[str, Mapping[str, float]],
    baseline: str | None,
    confidence: float = 0.95,
) -> tuple[GroupRow, ...]:
    """Score every file on every kind of question.

    Args:
        groups: The kind of each question, by uuid.
        accuracies: Accuracy of each question in each file.
        baseline: File that the others are compared with; None for none.
        confidence: Coverage of the intervals, which are over questions.

    Returns:
        By kind, the most frequent first, then by file.
    """
    members: dict[str, list[str]] = {}
    for uuid, group in groups.items():
        members.setdefault(group, []).append(uuid)
    by_size = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = []
    for group, uuids in by_size:
        inside = {
            name: {uuid: of_question[uuid] for uuid in uuids if uuid in of_question}
            for name, of_question in accuracies.items()
        }
        for name, ours in inside.items():
            compared = baseline is not None and name != baseline
            rows.append(
                GroupRow(
                    group,
                    name,
                    share_interval(list(ours.values()), confidence),
                    paired_difference(ours, inside[baseline], confidence)
                    if compared and baseline is not None
                    else None,
                )
            )
    return tuple(rows)


def made_groups(
    kind: str, answers: Mapping[str, Sequence[str]], questions: Mapping[str, str]
) -> dict[str, str]:
    """The kind of each question, by uuid.

    Args:
        kind: One of `MADE`.
        answers: Accepted answers of each question, the main one first.
        questions: The text of each question.
    """
    if kind == QUESTION_LENGTH:
        return _quartiles({uuid: len(text.split()) for uuid, text in questions.items()})
    of_answer: Callable[[str], str] = answer_type if kind == ANSWER_TYPE else _answer_length
    return {uuid: of_answer(accepted[0]) for uuid, accepted in answers.items() if accepted}


def answer_type(answer: str) -> str:
    """What kind of thing an answer is: a date, number, yes or no, name, other words, pattern."""
    if is_pattern(answer):
        return "pattern"
    text = answer.strip()
    if normalise(text) in ("yes", "no", "true", "false"):
        return "yes or no"
    if _DATE.fullmatch(text):
        return "date"
    if re.match(r"[-+$\u20ac\u00a3]?\d", text):
        return "number"
    return "name" if text[:1].isupper() else "other words"


def _answer_length(answer: str) -> str:
    if is_pattern(answer):
        return "pattern"
    number = len(answer.split())
    if number >= _LONGEST:
        return f"{_LONGEST} words or more"
    return f"{number} word" + ("s" if number != 1 else "")


def _quartiles(lengths: Mapping[str, int]) -> dict[str, str]:
    if not lengths:
        return {}
    values = np.array(list(lengths.values()))
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="lower"))
    place = np.searchsorted(edges, values)
    names = {}
    for part in np.unique(place):
        inside = values[place == part]
        low, high = int(inside.min()), int(inside.max())
        names[int(part)] = f"{low} words" if low == high else f"{low}-{high} words"
    return {uuid: names[int(p)] for uuid, p in zip(lengths, place, strict=True)}

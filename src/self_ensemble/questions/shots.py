"""Few-shot examples: drawn from another part of the data, or set aside from the same one."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, Shot


class SetAside(NamedTuple):
    """Few-shot examples and the questions that are left to be evaluated."""

    shots: tuple[Shot, ...]
    questions: tuple[Question, ...]


def set_aside(
    questions: Sequence[Question], *, num_shots: int, seed: int, source: str
) -> SetAside:
    """Take few-shot examples out of the questions themselves.

    A question that shares a wording with another one is never taken: its twin would be evaluated
    with the answer in the prompt.

    Raises:
        UserError: No question would be left, or too few can serve as an example.
    """
    times = Counter(text for question in questions for text in set(question.wordings))
    usable = [q for q in questions if _is_complete(q) and times[q.wordings[0]] == 1]
    if len(questions) <= num_shots or len(usable) < num_shots:
        raise UserError(
            f"{source} has {len(questions)} questions, {len(usable)} of them usable as few-shot "
            f"examples: too few to set {num_shots} aside. Give --num-shots 0 or more rows.",
            "SE-0111",
        )
    chosen = random.Random(seed).sample(usable, num_shots)
    taken = {question.uuid for question in chosen}
    rest = tuple(question for question in questions if question.uuid not in taken)
    return SetAside(_as_shots(chosen), rest)


def draw_shots(
    candidates: Sequence[Question],
    evaluated: Sequence[Question],
    *,
    num_shots: int,
    seed: int,
    source: str,
) -> tuple[Shot, ...]:
    """Draw few-shot examples from questions that are not among the evaluated ones.

    Raises:
        UserError: There are too few that share no wording with an evaluated question.
    """
    asked = {text for question in evaluated for text in question.wordings}
    usable = [q for q in candidates if _is_complete(q) and asked.isdisjoint(q.wordings)]
    if len(usable) < num_shots:
        raise UserError(
            f"{source} has {len(usable)} few-shot examples, {num_shots} were asked for. "
            f"Give --num-shots {len(usable)} or fewer.",
            "SE-0111",
        )
    return _as_shots(random.Random(seed).sample(usable, num_shots))


def _is_complete(question: Question) -> bool:
    wording, answer = question.wordings[:1], question.answer_texts[:1]
    return any(text.strip() for text in wording) and any(text.strip() for text in answer)


def _as_shots(questions: Sequence[Question]) -> tuple[Shot, ...]:
    return tuple(Shot(question.wordings[0], question.answer_texts[0]) for question in questions)

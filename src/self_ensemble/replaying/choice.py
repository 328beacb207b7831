"""The first token that a rule takes, and whether the whole vocabulary would have it so.

C tokens that are kept of a question.
"""

from typing import Literal, NamedTuple

import numpy as np

from self_ensemble.replaying.rules import Fused, ReplayRule, Setting
from self_ensemble.replaying.stored import FirstPlace, StoredQuestion

Status = Literal["exact", "rest", "close", "error"]
# How far log-probabilities of two runs in another order or batch may be apart.
TOLERANCE = {"float32": 1e-3, "float16": 5e-2}
COARSEST = 0.25  # bfloat16, and types that are not known


class AnswerLogprob(NamedTuple):
    """The fused log-probability of the first token of accepted answers, between two bounds."""

    token_id: int
    low: float
    high: float


class Replayed(NamedTuple):
    """What a rule takes as the first token of a question's answer.

    Attributes:
        uuid: The question.
        token_id: The token; None in an error row.
        text: Its text.
        status: "exact": a run over the whole vocabulary takes the same. "rest": tokens that were
            not kept could be likelier. "close": two tokens, or what the rule decides by, are
            closer than runs agree. "error": the question was not asked.
        is_right: Whether an accepted answer begins with it.
        answers: Of each token with which an accepted answer begins.
        error: Why there is no token.
    """

    uuid: str
    token_id: int | None
    text: str
    status: Status
    is_right: bool
    answers: tuple[AnswerLogprob, ...]
    error: str | None


def replayed(question: StoredQuestion, rule: ReplayRule, setting: Setting) -> Replayed:
    """Fuse the wordings of a question; `question.first` has those that are asked."""
    if question.first is None:
        return Replayed(question.uuid, None, "", "error", False, (), question.error)
    fused, place, status = taken(question.first, rule, setting)
    token = question.token_ids[place]
    # log-probabilities of -inf on both sides of a difference are compared as equal.
    with np.errstate(invalid="ignore"):
        answers = _answers(question, fused)
    is_right = token in question.answer_ids
    return Replayed(question.uuid, token, question.texts[place], status, is_right, answers, None)


def taken(
    first: FirstPlace, rule: ReplayRule, setting: Setting
) -> tuple[Fused, int, Literal["exact", "rest", "close"]]:
    """What a rule makes of some wordings, which of the kept tokens it takes, and how surely."""
    with np.errstate(invalid="ignore"):
        fused = rule(first, setting)
        place = int(np.argmax(fused.scores))
        return fused, place, _status(fused, place, setting.tolerance)


def _status(fused: Fused, place: int, tolerance: float) -> Literal["exact", "rest", "close"]:
    best, margin = fused.scores[place], fused.factor * tolerance
    if not best - fused.bound > margin:
        return "rest"
    others = np.delete(fused.scores, place)
    return "exact" if fused.is_stable and bool((best - others > margin).all()) else "close"


def _answers(question: StoredQuestion, fused: Fused) -> tuple[AnswerLogprob, ...]:
    known = float(np.logaddexp.reduce(fused.scores))
    most = float(np.logaddexp(known, fused.rest))
    places = [question.token_ids.index(token) for token in question.answer_ids]
    return tuple(
        AnswerLogprob(
            question.token_ids[place],
            float(fused.scores[place] - most),
            float(fused.scores[place] - known),
        )
        for place in places
    )

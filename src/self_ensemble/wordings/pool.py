"""The candidates of one question: those that passed, and those that were refused and why."""

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from self_ensemble.questions.schema import Question
from self_ensemble.wordings.gate import Reason, rejection, same_text

HUMAN = "human"  # the style of wordings that came with the data set


@dataclass(frozen=True, slots=True)
class Candidate:
    """A wording that passed the gate.

    Attributes:
        text: The wording.
        style: Name of the style it was asked for in.
        logprob: Mean log-probability of its tokens, given the original; nan if people wrote it.
        recovery: Mean log-probability of the original's tokens, given the wording; nan likewise.
        check: What the meaning check said, "" without one.
    """

    text: str
    style: str
    logprob: float = math.nan
    recovery: float = math.nan
    check: str = ""

    @property
    def quality(self) -> float:
        """How well wording and original follow from each other, as log-probabilities.

        The sum of both directions is the reranking score of Li et al., "A Diversity-Promoting
        Objective Function for Neural Conversation Models" (arXiv 1510.03055): a wording that is
        likely by itself but lost what was asked does not lead back to the original.
        """
        return self.logprob + self.recovery


class Refused(NamedTuple):
    """A candidate that was refused."""

    text: str
    style: str
    reason: Reason


class Verdict(NamedTuple):
    """What a meaning check says of a wording.

    Attributes:
        passed: Whether the meaning is the same.
        note: Goes into the result file.
        error: Why nothing can be said; None where something is.
    """

    passed: bool
    note: str
    error: str | None = None


@dataclass(slots=True)
class Pool:
    """The candidates of one question as they come.

    Attributes:
        question: The question; its first wording is the original.
        passed: Candidates that passed gate and check, in the order in which they came.
        refused: The others.
        error: Why there are no wordings, or None.
        not_finite: Whether it is because numbers of the model are not finite.
    """

    question: Question
    passed: list[Candidate] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    error: str | None = None
    not_finite: bool = False
    _taken: set[str] = field(default_factory=set)

    @property
    def original(self) -> str:
        return self.question.wordings[0]

    def admit(self, candidate: Candidate, *, is_cut: bool = False) -> Candidate | None:
        """Pass a candidate through the gate; None where it is refused.

        Args:
            candidate: The candidate; it is not among the passed ones yet (see `keep`).
            is_cut: Whether it reached no line end, so that its end is missing.
        """
        candidate = replace(candidate, text=candidate.text.strip())
        reason = rejection(self.original, candidate.text, self.question.answer_texts, self._taken)
        if reason is None and is_cut:
            reason = "too_long"
        if reason is not None:
            self.refuse(candidate, reason)
            return None
        self._taken.add(same_text(candidate.text))
        return candidate

    def keep(self, candidate: Candidate) -> None:
        """Enter an admitted candidate that no check speaks against."""
        if self.error is None:
            self.passed.append(candidate)

    def fail(self, error: str) -> None:
        """Give up: a number on which the choice of wordings depends is not finite."""
        self.error = self.error or error
        self.not_finite = True
        self.passed.clear()

    def refuse(self, candidate: Candidate, reason: Reason) -> None:
        """Enter a candidate that gate or check speaks against."""
        self.refused.append(Refused(candidate.text, candidate.style, reason))

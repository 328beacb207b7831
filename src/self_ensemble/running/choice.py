"""Which wordings of a question are asked, and the request that comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from self_ensemble.asking.request import Request
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet


@dataclass(frozen=True, slots=True)
class WordingChoice:
    """Which wordings of a question are asked.

    Attributes:
        num_paraphrases: The first N wordings.
        indices: These wordings instead, in this order.
        manual_read_each_other: Whether wordings of the group "manual" read the earlier ones.
    """

    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    manual_read_each_other: bool = False

    @property
    def needed(self) -> int:
        """How many wordings a question must have; a number that a user may give without bound."""
        return self.num_paraphrases if self.indices is None else max(self.indices) + 1

    def chosen(self) -> tuple[int, ...]:
        return tuple(range(self.num_paraphrases)) if self.indices is None else self.indices

    def pick(self, wordings: Sequence[str]) -> tuple[str, ...]:
        """The chosen wordings of one question.

        Raises:
            UserError: The question has too few.
        """
        if len(wordings) < self.needed:
            raise UserError(
                f"{self.needed} wordings are asked for, the question has {len(wordings)}.",
                "SE-0201",
            )
        return tuple(wordings[index] for index in self.chosen())

    def readable(self, groups: Sequence[str]) -> tuple[tuple[int, int], ...]:
        """Pairs of chosen wordings of which the first may read the second."""
        if not self.manual_read_each_other or not groups:
            return ()
        manual = [n for n, index in enumerate(self.chosen()) if groups[index] == "manual"]
        return tuple((i, j) for i in manual for j in manual if j < i)


Weights = dict[str, tuple[float, ...]]


def original_request(question: Question) -> Request:
    """The original wording alone, which `origin` asks whatever else is asked."""
    return Request(key=question.uuid, wordings=question.wordings[:1])


def make_request(
    question: Question,
    choice: WordingChoice,
    weights: Weights | None,
    segment_weights: Weights | None,
) -> Request:
    """One question as the engine takes it.

    Raises:
        UserError: It has fewer wordings than asked for, or no accepted answer.
    """
    if not question.answers:
        raise UserError(
            "The question has no accepted answer, so it could not be scored.", "SE-0117"
        )
    return request_of(question, choice, weights, segment_weights)


def request_of(
    question: Question,
    choice: WordingChoice,
    weights: Weights | None,
    segment_weights: Weights | None,
) -> Request:
    """The same of a question that need not be scored.

    Raises:
        UserError: It has fewer wordings than asked for.
    """
    return Request(
        key=question.uuid,
        wordings=choice.pick(question.wordings),
        weights=None if weights is None else weights[question.uuid],
        segment_weights=None if segment_weights is None else segment_weights[question.uuid],
        readable=choice.readable(question.groups),
    )


def fewest_wordings_message(question_set: QuestionSet, choice: WordingChoice) -> str | None:
    """Why not a single question has the wordings asked for, or None."""
    needed = choice.needed
    most = max((len(question.wordings) for question in question_set.questions), default=0)
    if most >= needed:
        return None
    remedy = (
        "Give wordings with --paraphrases FILE, or ask one alone with --num-paraphrases 1."
        if most <= 1
        else f"Use --num-paraphrases {most} or fewer."
    )
    return (
        f"{needed} wordings are asked for, but no question of {question_set.name} has more "
        f"than {most}. {remedy}"
    )

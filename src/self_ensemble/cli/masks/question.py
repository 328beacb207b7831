"""Which wordings `mask` draws: those given, or those of a question of a data set."""

from dataclasses import dataclass

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.running.choice import WordingChoice


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and how it is asked.

    Attributes:
        question_set: Instruction, examples and framing.
        title: What it is called.
        wordings: The chosen ones.
        readable: Which of them read which.
        answers: Accepted answers; empty if none are known.
    """

    question_set: QuestionSet
    title: str
    wordings: tuple[str, ...]
    readable: tuple[tuple[int, int], ...] = ()
    answers: tuple[str, ...] = ()


def given_wordings(texts: tuple[str, ...]) -> Asked:
    """Wordings by themselves."""
    return Asked(QuestionSet("", (), (), ""), f"{len(texts)} wordings", texts)


def question_of(question_set: QuestionSet, index: int, choice: WordingChoice) -> Asked:
    """A question of a data set.

    Raises:
        UserError: There is none of that number, or it has too few wordings.
    """
    num_questions = len(question_set.questions)
    if not 0 <= index < num_questions:
        raise UserError(
            f"Got --index {index}, but {question_set.name} has {num_questions} questions. "
            f"Give a number from 0 to {num_questions - 1}.",
            "SE-0112",
        )
    question = question_set.questions[index]
    wordings = _picked(question, choice, f"Question {index} of {question_set.name}")
    title = f"{question_set.name}, question {index} ({question.uuid}), {len(wordings)} wordings"
    return Asked(
        question_set, title, wordings, choice.readable(question.groups), question.answer_texts
    )


def _picked(question: Question, choice: WordingChoice, which: str) -> tuple[str, ...]:
    needed, found = choice.needed, len(question.wordings)
    if needed > found:
        remedy = f"Give at most --num-paraphrases {found}"
        if choice.indices is not None:
            remedy = f"Give --indices below {found}"
        raise UserError(
            f"{which} has {found} wordings, {needed} are asked for. {remedy}, or a file with "
            "more wordings as --paraphrases.",
            "SE-0201",
        )
    return choice.pick(question.wordings)

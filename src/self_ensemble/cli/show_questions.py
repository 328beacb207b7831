"""What was understood of a data set, before a model is asked anything: `--show-questions 3`."""

import json
from collections.abc import Iterator

from self_ensemble.questions.patterns import PATTERN_MARK, is_pattern
from self_ensemble.questions.schema import Question, QuestionSet

# Of one question; TriviaQA has hundreds of aliases.
MOST_LINES = 12


def questions_page(question_set: QuestionSet, number: int) -> str:
    """Counts of the data set and its first questions as they are understood.

    Texts stand in quotes, so that blanks at their ends and control characters are seen.
    """
    return "\n".join(_lines(question_set, number))


def questions_json(question_set: QuestionSet, number: int) -> str:
    """The same as one line of JSON."""
    shown = [
        {"id": question.uuid, "wordings": question.wordings, "answers": question.answers}
        for question in question_set.questions[:number]
    ]
    summary = {"name": question_set.name, "questions": len(question_set.questions)}
    return json.dumps(summary | {"examples": len(question_set.shots), "shown": shown})


def _lines(question_set: QuestionSet, number: int) -> Iterator[str]:
    questions = question_set.questions
    yield f"{question_set.name}: {len(questions):,} questions from {question_set.source}"
    wordings = [len(question.wordings) for question in questions]
    answers = [len(question.answers) for question in questions]
    yield f"  wordings per question: {min(wordings)} to {max(wordings)}"
    yield f"  answers per question: {min(answers)} to {max(answers)}"
    unanswerable = answers.count(0)
    if unanswerable:
        yield f"  without an accepted answer, so not asked: {unanswerable:,}"
    shots = [f"{shot.wording!r} {shot.answer!r}" for shot in question_set.shots]
    yield from _some("  few-shot example", shots)
    for question in questions[:number]:
        yield ""
        yield f"id {question.uuid!r}"
        yield from _some("  wording", [repr(text) for text in question.wordings])
        yield from _some("  answer", _answers(question))


def _answers(question: Question) -> list[str]:
    return [
        f"{answer.removeprefix(PATTERN_MARK)!r} (pattern)" if is_pattern(answer) else repr(answer)
        for answer in question.answers
    ]


def _some(label: str, texts: list[str]) -> Iterator[str]:
    for index, text in enumerate(texts[:MOST_LINES], start=1):
        yield f"{label} {index}: {text}"
    if len(texts) > MOST_LINES:
        yield f"{label}s: {len(texts) - MOST_LINES} more"
    if not texts:
        yield f"{label}s: none"

"""Questions from rows with `uuid` (or `id`), `question` and/or `paraphrases`, and `answers`."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.fields import answer_list, identity, optional_text, text_list
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.questions.shots import set_aside
from self_ensemble.questions.tables import Row, read_table

INSTRUCTION = "Answer each question with a short fact.\n\n"


def load_file(path: Path, *, num_shots: int, seed: int) -> QuestionSet:
    """Load the user's own file; its stem names the data set.

    Args:
        path: A .jsonl, .json, .csv, .parquet or .feather file.
        num_shots: Rows set aside as few-shot examples.
        seed: Seed of their choice.

    Raises:
        UserError: The file cannot be used, or has too few rows for the few-shot examples.
    """
    table = read_table(path)
    shots, questions = set_aside(
        unique_questions(table.rows), num_shots=num_shots, seed=seed, source=str(path)
    )
    return QuestionSet(
        name=path.stem,
        questions=questions,
        shots=shots,
        instruction=INSTRUCTION,
        source=f"{path} (sha256 {table.sha256})",
    )


def unique_questions(rows: Iterable[Row]) -> tuple[Question, ...]:
    """Turn rows into questions, dropping exact repeats.

    Raises:
        UserError: A row is malformed, or two different rows have the same id.
    """
    first: dict[str, tuple[str, Question]] = {}
    for row in rows:
        question = question_from_row(row)
        where, known = first.setdefault(question.uuid, (row.where, question))
        if known != question:
            raise UserError(
                f"{row.where}: id {question.uuid!r} already stands at {where} with other content. "
                "Give every question its own id."
            )
    return tuple(question for _, question in first.values())


def question_from_row(row: Row) -> Question:
    """Turn one row into a question.

    A null or empty question or paraphrase list is no error here: the row is kept, and the run
    reports it as a row that cannot be asked.

    Raises:
        UserError: The row has no answers column, neither question nor paraphrases, or a value of
            a wrong type.
    """
    if not row.values.keys() & {"question", "paraphrases"}:
        raise UserError(
            f"{row.where}: the row has neither 'question' nor 'paraphrases'. "
            f"Add one; its columns are: {', '.join(row.values) or 'none'}."
        )
    answers = answer_list(row, "answers")
    wordings = original_first(optional_text(row, "question"), text_list(row, "paraphrases"))
    id_column = "uuid" if "uuid" in row.values else "id"
    used = {"question", "paraphrases", "answers", id_column}
    return Question(
        uuid=identity(row, id_column) or _content_id(wordings, answers),
        wordings=wordings,
        answers=answers,
        extra={name: value for name, value in row.values.items() if name not in used},
    )


def original_first(original: str | None, paraphrases: tuple[str, ...]) -> tuple[str, ...]:
    """Put the original wording before its paraphrases, and leave out those that repeat it."""
    if original is None:
        return paraphrases
    return (original, *(text for text in paraphrases if text != original))


def _content_id(wordings: tuple[str, ...], answers: tuple[str, ...]) -> str:
    # The answers count too: a question asked twice with other answers is two rows, and rows
    # with an empty question are not one.
    content = json.dumps([wordings, answers])
    return hashlib.sha256(content.encode()).hexdigest()[:16]

"""Questions from rows with an id, a question and/or paraphrases, and answers."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.columns import (
    OPTION,
    Columns,
    check_columns_exist,
    columns_of,
    listed,
    value_at,
)
from self_ensemble.questions.fields import (
    as_answers,
    as_identity,
    as_patterns,
    as_text,
    as_text_list,
)
from self_ensemble.questions.folders import read_folder
from self_ensemble.questions.reading import is_folder
from self_ensemble.questions.rows import Row
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.questions.shots import set_aside
from self_ensemble.questions.tables import read_table

LIST_OF_WORDINGS = "a list of texts (columns of one wording each: --columns paraphrases=NAME+NAME)"
INSTRUCTION = "Answer each question with a short fact.\n\n"


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How the user's own file is to be read.

    Attributes:
        columns: Columns by role, as `parse_columns` gives them.
        encoding: Of text files; UTF-8 where None.
        split: Which split of a folder.
        answers_separator: What stands between the answers of a plain text; see `answers_of`.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    split: str | None = None
    answers_separator: str | None = None


PLAIN = FileOptions()


def load_file(
    path: Path, *, num_shots: int, seed: int, options: FileOptions = PLAIN
) -> QuestionSet:
    """Load the user's own file or folder; its stem names the data set.

    Args:
        path: A file of one of the kinds that `read_table` reads, or a folder for `read_folder`.
        num_shots: Rows set aside as few-shot examples.
        seed: Seed of their choice.
        options: How to read it.

    Raises:
        UserError: The file cannot be used, or has too few rows for the few-shot examples.
    """
    if is_folder(path):
        table = read_folder(path, options.split, options.encoding)
    elif options.split is not None:
        raise UserError(
            f"--split chooses a part of a folder; {path} is a file. Leave it out.", "SE-0012"
        )
    else:
        table = read_table(path, options.encoding)
    shots, questions = set_aside(
        unique_questions(table.rows, options), num_shots=num_shots, seed=seed, source=str(path)
    )
    return QuestionSet(
        name=table.name,
        questions=questions,
        shots=shots,
        instruction=INSTRUCTION,
        source=f"{path} (sha256 {table.sha256})",
    )


def questions_from_rows(
    rows: Sequence[Mapping[str, object]],
    *,
    name: str = "questions",
    num_shots: int = 0,
    seed: int = 0,
    options: FileOptions = PLAIN,
) -> QuestionSet:
    """Make a data set of rows that are in memory already, as a JSON Lines file would hold them.

    Args:
        rows: Such as `{"question": ..., "paraphrases": [...], "answers": [...]}`.
        name: What the data set is called, and the folder of its results.
        num_shots: Rows set aside as few-shot examples.
        seed: Seed of their choice.
        options: Which columns, and what stands between answers.

    Raises:
        UserError: There are no rows, a row cannot be used, or they are too few for the examples.
    """
    if not rows:
        raise UserError("Got no questions. Give at least one row.", "SE-0112")
    numbered = [Row(f"row {number}", dict(row)) for number, row in enumerate(rows)]
    shots, questions = set_aside(
        unique_questions(numbered, options), num_shots=num_shots, seed=seed, source=name
    )
    return QuestionSet(
        name=name,
        questions=questions,
        shots=shots,
        instruction=INSTRUCTION,
        source=f"{len(rows)} rows in memory",
    )


def unique_questions(rows: Iterable[Row], options: FileOptions = PLAIN) -> tuple[Question, ...]:
    """Turn rows into questions, dropping exact repeats.

    Raises:
        UserError: A row is malformed, or two different rows have the same id.
    """
    rows = tuple(rows)
    check_columns_exist(rows, options.columns)
    first: dict[str, tuple[str, Question]] = {}
    for row in rows:
        question = question_from_row(row, options)
        where, known = first.setdefault(question.uuid, (row.where, question))
        if known != question:
            raise UserError(
                f"{row.where}: id {question.uuid!r} already stands at {where} with other content. "
                "Give every question its own id.",
                "SE-0110",
            )
    return tuple(question for _, question in first.values())


def question_from_row(row: Row, options: FileOptions = PLAIN) -> Question:
    """Turn one row into a question.

    A missing question, paraphrase list or answer is no error here: the row is kept, and the run
    reports it as a row that cannot be asked.

    Raises:
        UserError: The row has no answers column, neither question nor paraphrases, or a value of
            a wrong type.
    """
    columns = columns_of(row, options.columns)
    by_role = columns.by_role
    if not by_role.keys() & {"question", "paraphrases"}:
        raise _missing(row, "neither 'question' nor 'paraphrases'")
    if not by_role.keys() & {"answers", "answer_patterns"}:
        raise _missing(row, "no 'answers'")
    _refuse_choices(row, columns)
    answers = _answers(row, columns, options.answers_separator)
    original = columns.value(row, "question")
    if original is not None:
        original = as_text(row, by_role["question"], original, "a text")
    wordings = original_first(original, _paraphrases(row, columns))
    uuid = as_identity(row, by_role.get("id", "id"), columns.value(row, "id"))
    return Question(
        uuid=uuid or _content_id(wordings, answers),
        wordings=wordings,
        answers=answers,
        extra={name: value for name, value in row.values.items() if name not in columns.used},
    )


def _paraphrases(row: Row, columns: Columns) -> tuple[str, ...]:
    if not columns.wordings:
        path = columns.by_role.get("paraphrases", "paraphrases")
        return as_text_list(row, path, columns.value(row, "paraphrases"), LIST_OF_WORDINGS)
    found = ((path, value_at(row, path)) for path in columns.wordings)
    texts = (as_text(row, path, value, "a text") for path, value in found if value is not None)
    return tuple(text for text in texts if text.strip())


def _answers(row: Row, columns: Columns, separator: str | None) -> tuple[str, ...]:
    answers, aliases = (
        as_answers(row, columns.by_role.get(role, role), columns.value(row, role), separator)
        for role in ("answers", "answer_aliases")
    )
    patterns = as_patterns(
        row,
        columns.by_role.get("answer_patterns", "answer_patterns"),
        columns.value(row, "answer_patterns"),
    )
    return (*answers, *(alias for alias in aliases if alias not in answers), *patterns)


def original_first(original: str | None, paraphrases: tuple[str, ...]) -> tuple[str, ...]:
    """Put the original wording before its paraphrases, and leave out those that repeat it."""
    if original is None:
        return paraphrases
    return (original, *(text for text in paraphrases if text != original))


def _missing(row: Row, what: str) -> UserError:
    return UserError(
        f"{row.where}: the row has {what}. Its columns are: {listed(row.values)}. "
        f"Rename one, or name them: {OPTION}.",
        "SE-0107",
    )


def _refuse_choices(row: Row, columns: Columns) -> None:
    """Refuse the number or letter of a choice: it would be asked for as if it were an answer."""
    names = [name for name in columns.names if name.casefold() in ("choices", "options")]
    answer = columns.value(row, "answers")
    choices = row.values[names[0]] if names else None
    is_mark = isinstance(answer, int) or (isinstance(answer, str) and len(answer.strip()) == 1)
    if choices and is_mark and not (isinstance(choices, list) and answer in choices):
        raise UserError(
            f"{row.where}: {columns.by_role['answers']!r} is {answer!r}, the mark of one of "
            f"{names[0]!r}. Write the text of the right choice into a column of its own.",
            "SE-0108",
        )


def _content_id(wordings: tuple[str, ...], answers: tuple[str, ...]) -> str:
    # The answers count too: a question asked twice with other answers is two rows, and rows
    # with an empty question are not one.
    content = json.dumps([wordings, answers])
    return hashlib.sha256(content.encode()).hexdigest()[:16]

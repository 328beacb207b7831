"""Wordings from a paraphrase file, in place of those that the data set has."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.fields import identity, optional_text, text_list
from self_ensemble.questions.files import original_first
from self_ensemble.questions.rows import Row
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.questions.tables import read_table


def add_paraphrases(question_set: QuestionSet, path: Path) -> QuestionSet:
    """Give each question its original wording and the paraphrases that the file has for it.

    The file's wordings replace those of the data set. A question of one wording that the file
    does not name keeps it; one of several wordings must be named, or some answers would come from
    the file's wordings and some from the data set's own.

    Args:
        question_set: The questions to be asked.
        path: A table with `uuid` or `id`, `question` (the original wording) and `paraphrases` (a
            list); without `question` the first of `paraphrases` is the original.

    Returns:
        The same questions; those that the file names are of no group ("manual", "auto") any more.

    Raises:
        UserError: The file is malformed, was made for another data set, or lacks a question that
            has several wordings.
    """
    table = read_table(path)
    by_uuid = _by_uuid(table.rows)
    if by_uuid.keys().isdisjoint(question.uuid for question in question_set.questions):
        raise UserError(
            f"{path} has paraphrases for none of the questions of {question_set.name}: "
            "it belongs to another data set. Give the file that was made from this one.",
            "SE-0202",
        )
    return replace(
        question_set,
        questions=tuple(
            _with_paraphrases(question, by_uuid[question.uuid], question_set.name)
            if question.uuid in by_uuid
            else _without_paraphrases(question, path, question_set.name)
            for question in question_set.questions
        ),
        source=f"{question_set.source}; {path} (sha256 {table.sha256})",
    )


def _by_uuid(rows: Sequence[Row]) -> dict[str, Row]:
    by_uuid: dict[str, Row] = {}
    for row in rows:
        uuid = identity(row, "uuid" if "uuid" in row.values else "id")
        if uuid is None:
            raise UserError(
                f"{row.where}: the row has no 'uuid' or 'id'. Give the question's id.", "SE-0110"
            )
        known = by_uuid.setdefault(uuid, row)
        if known.values != row.values:
            raise UserError(
                f"{row.where}: id {uuid!r} already stands at {known.where} with other content. "
                "Keep one of the two.",
                "SE-0110",
            )
    return by_uuid


def _with_paraphrases(question: Question, row: Row, name: str) -> Question:
    wordings = original_first(optional_text(row, "question"), text_list(row, "paraphrases"))
    original = wordings[0] if wordings else ""
    asked = question.wordings[0] if question.wordings else ""
    if original != asked:
        raise UserError(
            f"{row.where}: question {question.uuid!r} reads {original!r} here and {asked!r} in "
            f"{name}: the file belongs to another data set. Give the file that was made from this "
            "one.",
            "SE-0202",
        )
    return replace(question, wordings=wordings, groups=())


def _without_paraphrases(question: Question, path: Path, name: str) -> Question:
    if len(question.wordings) > 1:
        raise UserError(
            f"{path} has no row for question {question.uuid!r} of {name}, whose own wordings "
            "would be asked among the file's. Make the file for the same questions: with the "
            "same --max-samples, --num-shots and --seed.",
            "SE-0202",
        )
    return question

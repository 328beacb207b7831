"""Wordings from a paraphrase file, for data sets that have one wording per question."""

from dataclasses import replace
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.fields import identity, required_text, text_list
from self_ensemble.questions.files import original_first
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.questions.tables import Row, read_table


def add_paraphrases(question_set: QuestionSet, path: Path) -> QuestionSet:
    """Give each question the paraphrases that the file has for it, after its original wording.

    Args:
        question_set: Questions of one wording each.
        path: A table with `uuid`, `question` (the original wording) and `paraphrases` (a list).

    Returns:
        The same questions; one that the file does not name keeps its one wording.

    Raises:
        UserError: The file is malformed or was made for another data set, or the questions
            have paraphrases of their own.
    """
    table = read_table(path)
    by_uuid: dict[str, Row] = {}
    for row in table.rows:
        uuid = identity(row, "uuid")
        if uuid is None:
            raise UserError(f"{row.where}: the row has no 'uuid'. Give the question's id.")
        known = by_uuid.setdefault(uuid, row)
        if known.values != row.values:
            raise UserError(
                f"{row.where}: id {uuid!r} already stands at {known.where} with other content. "
                "Keep one of the two."
            )
    if by_uuid.keys().isdisjoint(question.uuid for question in question_set.questions):
        raise UserError(
            f"{path} has paraphrases for none of the questions of {question_set.name}: "
            "it belongs to another data set. Give the file that was made from this one."
        )
    return replace(
        question_set,
        questions=tuple(
            _with_paraphrases(question, by_uuid[question.uuid], question_set.name)
            if question.uuid in by_uuid
            else question
            for question in question_set.questions
        ),
        source=f"{question_set.source}; {path} (sha256 {table.sha256})",
    )


def _with_paraphrases(question: Question, row: Row, name: str) -> Question:
    if len(question.wordings) > 1:
        raise UserError(
            f"{row.where}: question {question.uuid!r} of {name} has paraphrases of its own. "
            "Leave the paraphrase file out."
        )
    original = required_text(row, "question")
    if question.wordings != (original,):
        raise UserError(
            f"{row.where}: question {question.uuid!r} reads {original!r} here and "
            f"{question.wordings[0] if question.wordings else ''!r} in {name}: the file belongs "
            "to another data set. Give the file that was made from this one."
        )
    return replace(question, wordings=original_first(original, text_list(row, "paraphrases")))

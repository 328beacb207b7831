"""Which questions share one vector of weights: all of them, or those of a relation's templates."""

from collections.abc import Sequence
from typing import Literal

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question

By = Literal["index", "template"]

ALL = "all"
RELATION = "rel_uri"


def group_of(question: Question, by: By, chosen: Sequence[int]) -> str:
    """Name of a question's group.

    By template it is the question's relation: a relation's manual templates stand in one order
    for all its facts, so a wording's index names its template. Automatic templates are drawn for
    each fact apart, and an index names none.

    Args:
        question: A question that has the chosen wordings.
        by: `index`: one group of all questions. `template`: one for each relation.
        chosen: Indices of the wordings that are asked.

    Raises:
        UserError: By template, and the wordings are not a relation's manual templates.
    """
    if by == "index":
        return ALL
    relation = question.extra.get(RELATION)
    kinds = {question.groups[index] for index in chosen} if question.groups else set()
    if not isinstance(relation, str) or kinds != {"manual"}:
        raise UserError(
            f"Row {question.uuid!r} is not asked in a relation's manual templates, which weights "
            "by template need. Learn one weight per wording with --by index.",
            "SE-0609",
        )
    return relation

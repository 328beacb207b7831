"""Weights of the wordings, from a column of the data set or a file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.questions.structures import structure_of
from self_ensemble.questions.tables import is_table_name, read_table

COLUMN = "weights"


def load_weights(
    source: str, question_set: QuestionSet, chosen: Sequence[int]
) -> dict[str, tuple[float, ...]]:
    """Read one weight per chosen wording for every question.

    Args:
        source: Name of a column of the data set that holds a list of numbers, or the path of a
            file with the columns `uuid` and `weights`.
        question_set: The questions.
        chosen: Indices of the wordings that are asked.

    Returns:
        Weights by uuid, `(len(chosen),)` each.

    Raises:
        UserError: No such column or file, or a row without fitting weights.
    """
    path = Path(source)
    if is_table_name(source) or path.exists():
        found = {str(r.values.get("uuid")): r.values.get(COLUMN) for r in read_table(path).rows}
        where = source
    else:
        columns = {name for question in question_set.questions for name in question.extra}
        if source not in columns:
            if not columns:
                raise UserError(
                    f"{question_set.name} has no column {source!r} with weights. Give a file with "
                    f"uuid and {COLUMN}.",
                    "SE-0602",
                )
            raise unknown_name("weights column", source, columns)
        found = {q.uuid: q.extra.get(source) for q in question_set.questions}
        where = f"column {source!r}"
    return {
        question.uuid: _weights_of(question.uuid, len(question.wordings), found, where, chosen)
        for question in question_set.questions
    }


def _opened(value: object) -> object:
    """A list that was written into a text, as in a CSV cell."""
    try:
        return structure_of(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _weights_of(
    uuid: str,
    num_wordings: int,
    found: Mapping[str, object],
    where: str,
    chosen: Sequence[int],
) -> tuple[float, ...]:
    if num_wordings <= max(chosen):
        return ()  # Too few wordings: the run makes an error row of it.
    value = _opened(found.get(uuid))
    if not isinstance(value, list):
        raise UserError(
            f"{where} has no list of weights for row {uuid!r}. Give one per wording.", "SE-0603"
        )
    if len(value) not in (num_wordings, len(chosen)):
        raise UserError(
            f"{where} has {len(value)} weights for row {uuid!r}, which has {num_wordings} "
            f"wordings, {len(chosen)} of them asked. Give one per wording.",
            "SE-0603",
        )
    picked = [value[index] for index in chosen] if len(value) == num_wordings else value
    numbers = [float(w) for w in picked if isinstance(w, int | float)]
    if len(numbers) != len(picked) or not all(math.isfinite(w) and w >= 0 for w in numbers):
        raise UserError(
            f"{where} has weights {value} for row {uuid!r}. Give finite numbers from 0.", "SE-0603"
        )
    if not any(numbers):
        raise UserError(
            f"{where} has only zeros for row {uuid!r}. Give one weight above 0.", "SE-0603"
        )
    return tuple(numbers)

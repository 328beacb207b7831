"""Columns of the questions, such as their relation: what they are grouped and clustered by."""

from collections.abc import Iterable, Mapping

from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.errors import UserError

Columns = Mapping[str, Mapping[str, object]]


def question_columns(files: Iterable[LoadedFile], given: Columns) -> dict[str, dict[str, object]]:
    """Columns of each question by uuid: those given, and those of the files over them."""
    columns: dict[str, dict[str, object]] = {}
    for file in files:
        for row in file.rows:
            columns.setdefault(row.uuid, dict(given.get(row.uuid, {}))).update(row.columns)
    return columns


def values_of(column: str, columns: Columns, title: str) -> dict[str, str]:
    """The value of one column for each question, by uuid.

    Args:
        column: Its name.
        columns: All columns of all questions.
        title: What the results are called in messages.

    Raises:
        UserError: Some question has no such column.
    """
    known = sorted({name for values in columns.values() for name in values})
    if column not in known:
        there_are = f" There are: {', '.join(known)}." if known else ""
        raise UserError(
            f"The questions of {title} have no column {column!r}.{there_are} Result files do not "
            "keep the columns of the questions. Give --dataset FILE, or --dataset NAME and "
            "--data.",
            "SE-0905",
        )
    without = [uuid for uuid, values in columns.items() if values.get(column) is None]
    if without:
        raise UserError(
            f"{len(without)} of {len(columns)} questions of {title} have no {column!r}, for "
            f"example {min(map(str, without))}. Give every question one, or leave it out.",
            "SE-0905",
        )
    return {uuid: str(values[column]) for uuid, values in columns.items()}

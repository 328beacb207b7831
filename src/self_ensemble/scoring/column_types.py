"""Which types the columns of a result or confidence file may have, whoever wrote it."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import types

from self_ensemble.errors import UserError


def is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):  # of a categorical column of pandas
        kind = kind.value_type
    found: bool = (
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    )
    return found


def is_number(kind: pa.DataType) -> bool:
    found: bool = types.is_integer(kind) or types.is_floating(kind)
    return found


def _is_list_of_texts(kind: pa.DataType) -> bool:
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and (is_text(kind.value_type) or types.is_null(kind.value_type))


# Columns that hold a list of answers or the prediction itself are looked at row by row.
_WANTED: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "uuid": (lambda kind: is_text(kind) or types.is_integer(kind), "texts or whole numbers"),
    "paraphrase": (is_text, "texts"),
    "paraphrases": (_is_list_of_texts, "lists of texts"),
    "paraphrase_index": (types.is_integer, "whole numbers"),
    "error": (is_text, "texts, and empty in a row that has none"),
    "seconds": (is_number, "numbers"),
    "mean_logprob": (is_number, "numbers"),
    "num_tokens": (is_number, "numbers"),
    "confidence": (is_number, "numbers"),
    "greedy_predict": (is_text, "texts"),
}


def refuse_other_columns(path: Path, table: pa.Table) -> None:
    """Refuse a file whose columns are called as ours and hold something else.

    Raises:
        UserError: A column has another type than what is read from it; one without any value
            passes.
    """
    for name, (fits, wanted) in _WANTED.items():
        if name not in table.column_names or table[name].null_count == len(table):
            continue
        if not fits(table[name].type):
            raise UserError(
                f"{path} has column {name} of type {table[name].type}. It must hold {wanted}. "
                "Convert it or give it another name.",
                "SE-0903",
            )

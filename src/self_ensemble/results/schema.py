"""The columns of a result file, as an Arrow schema, and the check that rows have them."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

RESULT_SCHEMA = pa.schema(
    [
        pa.field("uuid", pa.string(), nullable=False),
        pa.field("answers", pa.list_(pa.string()), nullable=False),
        pa.field("paraphrases", pa.list_(pa.string()), nullable=False),
        pa.field("prompts", pa.list_(pa.string()), nullable=False),
        # First line of the generation; null in an error row, "" where the model said nothing.
        pa.field("prediction", pa.string()),
        pa.field("generation", pa.string()),
        pa.field("predict_lemma", pa.list_(pa.string()), nullable=False),
        pa.field("answer_lemmas", pa.list_(pa.list_(pa.string())), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
        # nan where there is no token.
        pa.field("mean_logprob", pa.float64(), nullable=False),
        # The row's share of its batch's wall-clock time.
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("stop_reason", pa.string(), nullable=False),
        pa.field("backend", pa.string(), nullable=False),
        # Why the row has no answer; null in an ordinary row.
        pa.field("error", pa.string()),
    ]
)

PER_PROMPT_SCHEMA = RESULT_SCHEMA.append(
    pa.field("paraphrase", pa.string(), nullable=False)
).append(pa.field("paraphrase_index", pa.int32(), nullable=False))

# One row per question and wording; `sample_*` are empty for estimators that draw nothing.
CONFIDENCE_SCHEMA = pa.schema(
    [
        pa.field("uuid", pa.string(), nullable=False),
        pa.field("paraphrase", pa.string(), nullable=False),
        pa.field("paraphrase_index", pa.int32(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("answers", pa.list_(pa.string()), nullable=False),
        # Null in an error row.
        pa.field("greedy_predict", pa.string()),
        pa.field("sample_predicts", pa.list_(pa.string()), nullable=False),
        pa.field("greedy_lemma", pa.list_(pa.string()), nullable=False),
        pa.field("sample_lemmas", pa.list_(pa.list_(pa.string())), nullable=False),
        pa.field("answer_lemmas", pa.list_(pa.list_(pa.string())), nullable=False),
        # From 0 to 1, larger is surer; nan in an error row.
        pa.field("confidence", pa.float64(), nullable=False),
        pa.field("error", pa.string()),
    ]
)


def rows_to_table(rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    """Put rows into a table with exactly the schema's columns.

    Raises:
        ValueError: A row lacks a column, has one too many, or has no value where one must be.
    """
    names = set(schema.names)
    for row in rows:
        # Arrow itself drops what it does not know and fills what it misses with null.
        if row.keys() != names:
            raise ValueError(
                f"Row {row.get('uuid')!r} must have exactly the columns of the schema. "
                f"Missing: {sorted(names - row.keys())}, unknown: {sorted(row.keys() - names)}."
            )
        for field in schema:
            if not field.nullable and row[field.name] is None:
                raise ValueError(f"Row {row['uuid']!r} has no {field.name!r}.")
    return pa.Table.from_pylist(list(rows), schema=schema)

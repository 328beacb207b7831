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
        # Tokens that the row by its method alone sends through the model behind the run's prefix
        # (`asking/token_count.py`); null in an error row.
        pa.field("tokens", pa.int32()),
        pa.field("stop_reason", pa.string(), nullable=False),
        pa.field("backend", pa.string(), nullable=False),
        # Why the row has no answer; null in an ordinary row.
        pa.field("error", pa.string()),
    ]
)

PER_PROMPT_SCHEMA = RESULT_SCHEMA.append(
    pa.field("paraphrase", pa.string(), nullable=False)
).append(pa.field("paraphrase_index", pa.int32(), nullable=False))

# Columns that results of earlier versions lack.
LATER = frozenset({"tokens"})


def earlier(schema: pa.Schema) -> pa.Schema:
    """The schema as earlier versions wrote it."""
    return pa.schema([field for field in schema if field.name not in LATER])


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

# `generate --save-logprobs K`: one row per question and wording, and one of the prompt without the
# question, whose index is `PRIOR_INDEX`. C tokens of a question's first place, T tokens of the
# wording's own greedy answer.
PRIOR_INDEX = -1
_IDS, _LOGPROBS = pa.list_(pa.int32()), pa.list_(pa.float32())
LOGPROBS_SCHEMA = pa.schema(
    [
        pa.field("uuid", pa.string(), nullable=False),
        pa.field("paraphrase_index", pa.int32(), nullable=False),
        pa.field("paraphrase", pa.string(), nullable=False),
        pa.field("answers", pa.list_(pa.string()), nullable=False),
        # First token of each accepted answer, once each.
        pa.field("answer_ids", _IDS, nullable=False),
        # (C,), the same in all rows of a question and ascending: the K most probable tokens of any
        # row, and `answer_ids`.
        pa.field("first_ids", _IDS, nullable=False),
        pa.field("first_texts", pa.list_(pa.string()), nullable=False),
        pa.field("first_logprobs", _LOGPROBS, nullable=False),
        # Of all other tokens: the largest log-probability, and that of all together.
        pa.field("first_bound", pa.float32(), nullable=False),
        pa.field("first_rest", pa.float32(), nullable=False),
        # Of all other tokens: how far a log-probability is above that of the same token behind the
        # prompt without the question, at most.
        pa.field("first_gap", pa.float32(), nullable=False),
        # Of the whole vocabulary, in nats.
        pa.field("first_entropy", pa.float32(), nullable=False),
        # (T,), (T, K), (T, K), (T,): the likeliest tokens, falling, and all others together.
        pa.field("token_ids", _IDS, nullable=False),
        pa.field("step_ids", pa.list_(_IDS), nullable=False),
        pa.field("step_logprobs", pa.list_(_LOGPROBS), nullable=False),
        pa.field("step_rest", _LOGPROBS, nullable=False),
        # Why the row has no log-probabilities; null in an ordinary row.
        pa.field("error", pa.string()),
    ]
)

_ROW, _TABLE = pa.list_(pa.float64()), pa.list_(pa.list_(pa.float64()))
# Of each kind of attribution: T tokens of `token_ids`, N wordings of `paraphrases`; values are
# (T, N), totals (N,), all else (T,). Null in a row without an answer or without attribution.
ATTRIBUTION = {
    "mass": pa.struct({
        "values": _TABLE, "total": _ROW, "prefix": _ROW, "cue": _ROW, "earlier": _ROW,
    }),
    "leave_one_out": pa.struct({"values": _TABLE, "total": _ROW, "full": _ROW}),
    "shapley": pa.struct({
        "values": _TABLE, "total": _ROW, "full": _ROW, "empty": _ROW,
        # (N,); null where all orders were taken.
        "standard_error": _ROW,
    }),
    "share": pa.struct({
        "values": _TABLE, "total": _ROW, "unit": pa.string(),
        "runner_up": pa.list_(pa.string()), "margin": _ROW, "margin_values": _TABLE,
        "prior": _ROW,
    }),
}  # fmt: skip
# Why a row with an answer lacks a kind of attribution; null in all others.
ATTRIBUTION_ERROR = "attribution_error"


def with_attribution(schema: pa.Schema, kinds: Sequence[str]) -> pa.Schema:
    """The schema with a column for each kind of attribution; as it is for none."""
    for kind in kinds:
        schema = schema.append(pa.field(attribution_column(kind), ATTRIBUTION[kind]))
    return schema.append(pa.field(ATTRIBUTION_ERROR, pa.string())) if kinds else schema


def attribution_column(kind: str) -> str:
    """Name of the column of a kind of attribution."""
    return f"attribution_{kind}"


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

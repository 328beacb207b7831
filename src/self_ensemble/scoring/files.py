"""Result and confidence files on disk: what scoring needs of their rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import feather

from self_ensemble.errors import UserError, reading
from self_ensemble.identity.checksum import DamagedError, claims_checksum, problem
from self_ensemble.scoring.column_types import is_number, refuse_other_columns

_REQUIRED = ("uuid", "answers", "prediction")
_OPTIONAL = ("seconds", "error", "paraphrase_index", "mean_logprob", "num_tokens", "tokens")
_WORDINGS = ("paraphrase", "paraphrases")
# Columns of ours that say nothing of the question itself.
_NOT_OF_THE_QUESTION = frozenset(
    {"generation", "greedy_predict", "stop_reason", "backend", "attribution_error"}
)
_CONFIDENCE = ("uuid", "answers", "greedy_predict", "confidence")
# Not in the files of published notebooks.
_CONFIDENCE_OPTIONAL = ("error", "paraphrase_index")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One answer to one question, or the reason why there is none.

    Attributes:
        uuid: The question.
        answers: Accepted answers.
        prediction: First line of the generation; None in an error row.
        error: Why the row has no prediction; None if it has one.
        seconds: Time that the answer took; nan if unknown.
        paraphrase_index: Which wording was asked alone (`per_prompt`); else None.
        mean_logprob: Mean log-probability of the answer's tokens; nan if unknown or no token.
        num_tokens: Tokens of the answer; nan if unknown.
        tokens: Tokens that go through the model for the row, by its method alone and without the
            run's prefix; nan if unknown, as in results of earlier versions.
        wordings: The wordings that were asked; one where it was asked alone, none if unknown.
        columns: What the file says of the question beyond that: texts, numbers, true or false.
    """

    uuid: str
    answers: tuple[str, ...]
    prediction: str | None
    error: str | None = None
    seconds: float = nan
    paraphrase_index: int | None = None
    mean_logprob: float = nan
    num_tokens: float = nan
    tokens: float = nan
    wordings: tuple[str, ...] = ()
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConfidenceRow:
    """How sure the model is of its answer to one wording, or the reason why that is not known.

    Attributes:
        uuid: The question.
        answers: Accepted answers.
        prediction: The greedy answer; None in an error row.
        confidence: From 0 to 1, larger is surer; nan where it is not known.
        error: Why the row has no confidence; None if it has one.
    """

    uuid: str
    answers: tuple[str, ...]
    prediction: str | None
    confidence: float
    error: str | None = None


def read_rows(path: Path) -> tuple[ResultRow, ...]:
    """Read a result file.

    Raises:
        UserError: The file cannot be read, lacks a column or has one of another type, has a row
            twice, or a row has no answers or neither a prediction nor an error.
    """
    table = _table(path, _REQUIRED, "result")
    refuse_other_columns(path, table)
    own = [name for name in (*_REQUIRED, *_OPTIONAL, *_WORDINGS) if name in table.column_names]
    # What others call so may be the tokens themselves.
    own = [name for name in own if name != "tokens" or is_number(table.schema.field(name).type)]
    others = [field.name for field in table.schema if _is_of_the_question(field, own)]
    records = table.select([*own, *others]).to_pylist()
    if "paraphrase_index" not in own and "paraphrase" in own:
        _number_wordings(path, records)
    rows = tuple(_row(path, record, others) for record in records)
    _refuse_repeated(path, ((row.uuid, row.paraphrase_index) for row in rows))
    return rows


def read_confidences(path: Path) -> tuple[ConfidenceRow, ...]:
    """Read a confidence file; those of published notebooks lack the error and paraphrase index.

    Raises:
        UserError: The file cannot be read, lacks a column or has one of another type, has a row
            twice, or a row has no answers or a confidence that is not between 0 and 1.
    """
    table = _table(path, _CONFIDENCE, "confidence")
    refuse_other_columns(path, table)
    known = (*_CONFIDENCE, *_CONFIDENCE_OPTIONAL)
    records: list[dict[str, Any]] = table.select(
        [name for name in known if name in table.column_names]
    ).to_pylist()
    # Without an index two equal wordings of a question cannot be told from a row that is twice.
    _refuse_repeated(
        path,
        (
            (record["uuid"], record["paraphrase_index"])
            for record in records
            if record.get("paraphrase_index") is not None
        ),
    )
    return tuple(_confidence_row(path, record) for record in records)


def _table(path: Path, required: Sequence[str], kind: str) -> pa.Table:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.", "SE-0702") from error
    # Files of published notebooks have no checksum. Ours are checked before pyarrow sees them:
    # on damaged lengths it has crashed the process.
    fault = problem(content) if claims_checksum(content) else None
    if fault is not None:
        raise DamagedError(path, fault, f"Make the {kind} again, with --repair.")
    with reading(path, f"It must be an Arrow feather file. Make the {kind} again."):
        table = feather.read_table(pa.BufferReader(content))
    missing = [name for name in required if name not in table.column_names]
    if missing:
        raise UserError(
            f"{path} has no column {', '.join(missing)}: it is no {kind} file. Give it the column "
            "or move it to another folder.",
            "SE-0902",
        )
    return table


def _number_wordings(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Number the wordings of a question as they stand, where a file has their texts only.

    Raises:
        UserError: A question has a wording twice.
    """
    seen: dict[object, list[object]] = {}
    for record in records:
        wordings = seen.setdefault(record["uuid"], [])
        if record["paraphrase"] in wordings:
            raise UserError(
                f"{path} has row {record['uuid']!r} with wording {record['paraphrase']!r} twice. "
                "Drop one of the rows.",
                "SE-0903",
            )
        record["paraphrase_index"] = len(wordings)
        wordings.append(record["paraphrase"])


def _is_of_the_question(column: pa.Field, own: Sequence[str]) -> bool:
    """Whether a column may say what kind of question it is: its relation, its source."""
    kind = column.type
    return (column.name not in own and column.name not in _NOT_OF_THE_QUESTION) and (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    )


def _row(path: Path, record: dict[str, Any], others: Sequence[str]) -> ResultRow:
    uuid, answers, prediction = record["uuid"], record["answers"], record["prediction"]
    # An empty text, as a CSV file leaves it behind, is no reason.
    error = record.get("error") or None
    if not answers and error is None:
        raise UserError(f"{path}: row {uuid!r} has no answers, so it cannot be scored.", "SE-0903")
    if prediction is None and error is None:
        raise UserError(f"{path}: row {uuid!r} has neither a prediction nor an error.", "SE-0903")
    _refuse_other_types(path, uuid, answers, prediction)
    tokens = None if "tokens" in others else record.get("tokens")
    return ResultRow(
        uuid=str(uuid),
        answers=tuple(answers or ()),
        prediction=prediction,
        error=error,
        seconds=_measured(record.get("seconds")),
        paraphrase_index=record.get("paraphrase_index"),
        mean_logprob=nan if record.get("mean_logprob") is None else record["mean_logprob"],
        num_tokens=_measured(record.get("num_tokens")),
        tokens=_measured(tokens),
        wordings=_wordings(record),
        columns={name: record[name] for name in others},
    )


def _measured(number: float | None) -> float:
    """A time or a count; nan where the file does not know it: no question takes for ever."""
    return number if number is not None and isfinite(number) else nan


def _refuse_other_types(path: Path, uuid: object, answers: Any, prediction: object) -> None:
    """Refuse what only looks like a result: a text for a list of answers, a number for a text."""
    if uuid is None:
        raise UserError(
            f"{path} has a row without uuid. Give every row the id of its question.", "SE-0903"
        )
    if isinstance(answers, str) or not all(isinstance(answer, str) for answer in answers or ()):
        raise UserError(
            f"{path}: row {uuid!r} has answers {answers!r}. They must be a list of texts.",
            "SE-0903",
        )
    if not isinstance(prediction, str | None):
        raise UserError(
            f"{path}: row {uuid!r} has prediction {prediction!r}, which is no text.", "SE-0903"
        )


def _wordings(record: dict[str, Any]) -> tuple[str, ...]:
    alone = record.get("paraphrase")
    texts = tuple(record.get("paraphrases") or ()) if alone is None else (alone,)
    return () if None in texts else texts


def _confidence_row(path: Path, record: dict[str, Any]) -> ConfidenceRow:
    uuid, answers, error = record["uuid"], record["answers"], record.get("error") or None
    _refuse_other_types(path, uuid, answers, record["greedy_predict"])
    confidence = nan if record["confidence"] is None else record["confidence"]
    known = error is None and not isnan(confidence)
    if known and not 0 <= confidence <= 1:
        raise UserError(
            f"{path}: row {uuid!r} has confidence {confidence}, which is not between 0 and 1. "
            "Estimate it again with `self-ensemble confidence`.",
            "SE-0903",
        )
    if known and not answers:
        raise UserError(f"{path}: row {uuid!r} has no answers, so it cannot be scored.", "SE-0903")
    return ConfidenceRow(
        str(uuid), tuple(answers or ()), record["greedy_predict"], confidence, error
    )


def _refuse_repeated(path: Path, keys: Iterable[tuple[str, int | None]]) -> None:
    seen = set()
    for uuid, index in keys:
        if (uuid, index) in seen:
            wording = "" if index is None else f" with wording {index}"
            raise UserError(
                f"{path} has row {uuid!r}{wording} twice. Generate it again.", "SE-0903"
            )
        seen.add((uuid, index))

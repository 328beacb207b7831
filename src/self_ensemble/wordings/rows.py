"""A question with its wordings as a row of a file, and what a file of such rows sums up to."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from self_ensemble.wordings.choice import choose
from self_ensemble.wordings.gate import REASONS
from self_ensemble.wordings.pool import Pool

PARAPHRASE_SCHEMA = pa.schema(
    [
        pa.field("uuid", pa.string(), nullable=False),
        # The original wording; null where the row has none.
        pa.field("question", pa.string()),
        pa.field("answers", pa.list_(pa.string()), nullable=False),
        # The kept wordings, the best first; the next four columns have one entry for each.
        pa.field("paraphrases", pa.list_(pa.string()), nullable=False),
        pa.field("styles", pa.list_(pa.string()), nullable=False),
        # Mean log-probability of the wording's tokens given the original, and the other way
        # round; nan where people wrote it.
        pa.field("logprobs", pa.list_(pa.float64()), nullable=False),
        pa.field("recoveries", pa.list_(pa.float64()), nullable=False),
        pa.field("checks", pa.list_(pa.string()), nullable=False),
        pa.field(
            "rejected",
            pa.list_(
                pa.struct([("text", pa.string()), ("style", pa.string()), ("reason", pa.string())])
            ),
            nullable=False,
        ),
        # Wordings that passed and were not chosen.
        pa.field("spare", pa.list_(pa.string()), nullable=False),
        # How many wordings the row lacks.
        pa.field("missing", pa.int32(), nullable=False),
        # Why nothing could be drawn; null in an ordinary row.
        pa.field("error", pa.string()),
    ]
)


def paraphrase_row(pool: Pool, num: int | None) -> dict[str, object]:
    """The row of one question.

    Args:
        pool: Its candidates.
        num: Wordings to keep; None keeps all that passed.
    """
    question = pool.question
    original = question.wordings[0] if question.wordings else None
    kept = choose(original or "", pool.passed, len(pool.passed) if num is None else num)
    return {
        "uuid": question.uuid,
        "question": original,
        "answers": list(question.answers),
        "paraphrases": [candidate.text for candidate in kept],
        "styles": [candidate.style for candidate in kept],
        "logprobs": [candidate.logprob for candidate in kept],
        "recoveries": [candidate.recovery for candidate in kept],
        "checks": [candidate.check for candidate in kept],
        "rejected": [refused._asdict() for refused in pool.refused],
        "spare": [candidate.text for candidate in pool.passed if candidate not in kept],
        "missing": 0 if num is None else num - len(kept),
        "error": pool.error,
    }


def to_jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as JSON Lines; nan, which JSON does not have, becomes null."""
    lines = (
        json.dumps(
            {name: _without_nan(value) for name, value in row.items()},
            ensure_ascii=False,
            allow_nan=False,
        )
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _without_nan(value: object) -> object:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file of wordings holds.

    Attributes:
        questions: Rows.
        candidates: Wordings drawn or read.
        survived: Those that passed gate and check.
        kept: Those that were chosen of them.
        rejected: How many were refused, by reason, in the order of the rules.
        too_few: Questions that have fewer wordings than were asked for; error rows do not count.
        errors: Rows for which nothing could be drawn.
    """

    questions: int
    candidates: int
    survived: int
    kept: int
    rejected: dict[str, int]
    too_few: int
    errors: int


def summarise(rows: Sequence[Mapping[str, Any]]) -> Summary:
    """Count over the rows of a file."""
    reasons = Counter(refused["reason"] for row in rows for refused in row["rejected"])
    kept = sum(len(row["paraphrases"]) for row in rows)
    survived = kept + sum(len(row["spare"]) for row in rows)
    return Summary(
        questions=len(rows),
        candidates=survived + reasons.total(),
        survived=survived,
        kept=kept,
        rejected={reason: reasons[reason] for reason in REASONS if reasons[reason]},
        too_few=sum(row["missing"] > 0 and row["error"] is None for row in rows),
        errors=sum(row["error"] is not None for row in rows),
    )

"""What was kept of the first place of every question's answer: `generate --save-logprobs`.

N wordings, C tokens that are kept of a question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import DamagedError
from self_ensemble.results.disk import REPAIR, read_table
from self_ensemble.results.manifest import manifest_of
from self_ensemble.results.paths import check_name
from self_ensemble.results.schema import LOGPROBS_SCHEMA, PRIOR_INDEX

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FirstPlace:
    """What the wordings of a question predict as the first token of an answer.

    Attributes:
        logprobs: Of the tokens that are kept, `(N, C)`.
        bound: Largest log-probability of any other token, `(N,)`.
        rest: Log-probability of all other tokens together, `(N,)`.
        gap: How far any other token's log-probability is above its one in `prior` at most, `(N,)`.
        entropy: In nats, of the whole distribution, `(N,)`.
        prior: Log-probabilities under the prompt without the question, `(C,)`.
    """

    logprobs: Floats
    bound: Floats
    rest: Floats
    gap: Floats
    entropy: Floats
    prior: Floats

    def of(self, places: Sequence[int]) -> "FirstPlace":
        """The same of some wordings, in this order."""
        rows = list(places)
        return FirstPlace(
            self.logprobs[rows], self.bound[rows], self.rest[rows], self.gap[rows],
            self.entropy[rows], self.prior,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """One question of a file.

    Attributes:
        uuid: The question.
        token_ids: The tokens that are kept, `(C,)`, ascending.
        texts: Their texts, `(C,)`.
        answer_ids: First tokens of its accepted answers; all are among `token_ids`.
        first: What its wordings predict; None in an error row.
        error: Why there is nothing; None where there is.
    """

    uuid: str
    token_ids: tuple[int, ...]
    texts: tuple[str, ...]
    answer_ids: tuple[int, ...]
    first: FirstPlace | None
    error: str | None


class Stored(NamedTuple):
    """A file of log-probabilities.

    Attributes:
        indices: The wordings, in the order of `FirstPlace`.
        dtype: Of the model that predicted.
        questions: The questions.
    """

    indices: tuple[int, ...]
    dtype: str
    questions: tuple[StoredQuestion, ...]


def read_stored(path: Path) -> Stored:
    """Read a file that `generate --save-logprobs` wrote.

    Raises:
        DamagedError: It is not as it was written.
        UserError: It cannot be read, or is another file.
    """
    table = read_table(path)
    made_with = manifest_of(table, path).fields
    check_name(path, made_with)
    if not table.schema.remove_metadata().equals(LOGPROBS_SCHEMA):
        raise DamagedError(path, "it has other columns than log-probabilities have", REPAIR)
    columns = [name for name in LOGPROBS_SCHEMA.names if not name.startswith(("step_", "token_"))]
    by_uuid: dict[str, list[dict[str, Any]]] = {}
    for row in table.select(columns).to_pylist():
        by_uuid.setdefault(row["uuid"], []).append(row)
    if not by_uuid:
        raise UserError(f"{path} has no question. Generate it again.", "SE-0906")
    first = next(iter(by_uuid.values()))
    indices = tuple(row["paraphrase_index"] for row in first[:-1])
    assert first[-1]["paraphrase_index"] == PRIOR_INDEX
    return Stored(indices, str(made_with.get("dtype")), tuple(map(_question, by_uuid.values())))


def _question(rows: Sequence[dict[str, Any]]) -> StoredQuestion:
    *wordings, prior = rows
    kept = None
    if prior["error"] is None:
        bound, rest, gap, entropy = (
            np.array([row[f"first_{name}"] for row in wordings], np.float64)
            for name in ("bound", "rest", "gap", "entropy")
        )
        kept = FirstPlace(
            np.array([row["first_logprobs"] for row in wordings], np.float64),
            bound, rest, gap, entropy,
            np.array(prior["first_logprobs"], np.float64),
        )  # fmt: skip
    return StoredQuestion(
        prior["uuid"], tuple(prior["first_ids"]), tuple(prior["first_texts"]),
        tuple(prior["answer_ids"]), kept, prior["error"],
    )  # fmt: skip

"""One result file, loaded and judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

from self_ensemble.scoring.files import ResultRow
from self_ensemble.scoring.scores import FileScores, RowScore


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """The rows of one result file, in its order, and their scores."""

    rows: tuple[ResultRow, ...]
    scores: FileScores

    def score_of(self) -> dict[tuple[str, int | None], RowScore]:
        """The score of each row that has one, by uuid and wording."""
        return {(score.uuid, score.paraphrase_index): score for score in self.scores.rows}

    def records(self, columns: Mapping[str, Mapping[str, object]]) -> list[dict[str, Any]]:
        """Every row with its scores and the columns of its question, as one dict a row."""
        scores = self.score_of()
        return [
            {
                "uuid": row.uuid,
                "answers": list(row.answers),
                "prediction": row.prediction,
                "error": row.error,
                **_values(scores.get((row.uuid, row.paraphrase_index))),
                "seconds": row.seconds,
                "tokens": row.tokens,
                "num_tokens": row.num_tokens,
                "mean_logprob": row.mean_logprob,
                "paraphrase_index": row.paraphrase_index,
                "wordings": list(row.wordings),
                **columns.get(row.uuid, {}),
            }
            for row in self.rows
        ]


def _values(score: RowScore | None) -> dict[str, object]:
    names = ("accuracy", "exact_match", "lenient", "token_f1")
    if score is None:
        return {**dict.fromkeys(names, nan), "no_answer": False, "denied": False}
    numbers: dict[str, object] = {name: getattr(score, name) for name in names}
    return numbers | {"no_answer": score.no_answer, "denied": score.is_denied}

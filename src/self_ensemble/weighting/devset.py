"""A small labelled set of questions, which was asked in order to learn weights from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question
from self_ensemble.running.finite_rows import ENOUGH, nothing_finite
from self_ensemble.running.making import BatchRows
from self_ensemble.weighting.candidates import Candidates
from self_ensemble.weighting.maker import CANDIDATES

MAX_QUESTIONS = 200


@dataclass(frozen=True, slots=True)
class DevSet:
    """What the wordings predict for the right answers of a dev set.

    Attributes:
        questions: The questions that could be asked, in order.
        candidates: One entry for each of them.
        left_out: Why the others could not be asked, by uuid.
    """

    questions: tuple[Question, ...]
    candidates: tuple[Candidates, ...]
    left_out: dict[str, str]


@dataclass(slots=True)
class DevSetRows:
    """What has come of the questions of a dev set so far."""

    _found: dict[str, Candidates] = field(default_factory=dict)
    _left_out: dict[str, str] = field(default_factory=dict)
    _not_finite: dict[str, str] = field(default_factory=dict)

    def put(self, made: Sequence[BatchRows]) -> None:
        """Take what came of some batches.

        Raises:
            UserError: Nothing so far is finite, of many questions.
        """
        for batch in made:
            rows, not_finite = batch.files[CANDIDATES]
            for row in rows.to_pylist():
                if row["error"] is None:
                    columns = (np.array(row[name]) for name in ("logprobs", "starts", "right"))
                    self._found[row["uuid"]] = Candidates(*columns)
                else:
                    self._left_out[row["uuid"]] = row["error"]
            self._not_finite.update(not_finite)
        if not self._found and len(self._not_finite) >= ENOUGH:
            raise nothing_finite("learn-weights", self._not_finite)

    def dev_set(self, questions: Sequence[Question]) -> DevSet:
        """All of it, in the order of the questions.

        Raises:
            UserError: No question could be asked.
        """
        found = self._found
        # In their order, and not in that in which they came.
        left_out = {q.uuid: self._left_out[q.uuid] for q in questions if q.uuid in self._left_out}
        if not found and left_out:
            uuid, reason = next(iter(left_out.items()))
            raise UserError(
                f"No question of the dev set can be asked. Row {uuid!r}: {reason}", "SE-0609"
            )
        return DevSet(
            tuple(question for question in questions if question.uuid in found),
            tuple(found[question.uuid] for question in questions if question.uuid in found),
            left_out,
        )

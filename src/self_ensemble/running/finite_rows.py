"""Rows on their way into a file, held back as long as nothing in them is finite.

A question without a finite score is an error row among others. Where it is every question, the
model, the type of its numbers or a rule is at fault, and the run ends before all are asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from self_ensemble.errors import UserError
from self_ensemble.results.store import ResultFile

# As many questions as a CPU takes at once.
ENOUGH = 16


@dataclass(slots=True)
class FiniteRows:
    """One file of a run.

    Attributes:
        file: The open, unfinished file.
        total: Questions of the run.
        what: What makes the rows, for messages: a method, an estimator, the model.
    """

    file: ResultFile
    total: int
    what: str
    _held: list[pa.Table] = field(default_factory=list)
    _reasons: dict[str, str] = field(default_factory=dict)  # why not finite, by uuid
    _num_seen: int = 0
    _seen_finite: bool = field(init=False)

    def __post_init__(self) -> None:
        # What is on disk was written because something was finite.
        self._seen_finite = bool(self.file.done)

    def append(self, rows: pa.Table, not_finite: Mapping[str, str]) -> UserError | None:
        """Put the rows of a batch on disk, or hold them back.

        Args:
            rows: All rows of some questions, with the file's columns.
            not_finite: Why questions have rows that are not finite, by uuid.

        Returns:
            Why the run should end; then nothing that was held back is on disk.
        """
        self._num_seen += pc.count_distinct(rows["uuid"]).as_py()
        self._seen_finite |= rows["error"].null_count > 0
        self._reasons.update(not_finite)
        if self._seen_finite or not self._reasons:
            for held in self._held:
                self.file.append(held)
            self._held.clear()
            self.file.append(rows)
            return None
        self._held.append(rows)
        if len(self._reasons) < ENOUGH and self._num_seen < self.total:
            return None
        return nothing_finite(self.what, self._reasons)


def held_back(files: Mapping[str, ResultFile], total: int) -> dict[str, FiniteRows]:
    """The files of a run over so many questions, by what makes their rows."""
    return {name: FiniteRows(file, total, name) for name, file in files.items()}


def nothing_finite(what: str, reasons: Mapping[str, str]) -> UserError:
    """The end of a run: why none of some questions has a finite answer, by uuid."""
    uuid, reason = next(iter(reasons.items()))
    return UserError(
        f"None of the first {len(reasons)} questions has finite scores ({what}), so the run ends "
        f"here. Question {uuid!r}: {reason} What was done before is kept.",
        "SE-0611",
    )


def end_if(problems: Sequence[UserError | None]) -> None:
    """End the run where a file says so.

    Raises:
        UserError: The first problem.
    """
    for problem in problems:
        if problem is not None:
            raise problem

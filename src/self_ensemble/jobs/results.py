"""What a run over a data set leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_ensemble.errors import unknown_name
from self_ensemble.results.disk import read_table
from self_ensemble.running.batches import Outcome


@dataclass(frozen=True, slots=True)
class Results:
    """Finished result files.

    Attributes:
        files: The file of each method, or of each estimator.
        dataset: Name of the data set.
        outcome: What was done now, and how long it took; nothing where all was finished.
        backend: The attention backend.
        counters: What went through the model, by name; see `passes.engine.Counters`.
    """

    files: Mapping[str, Path]
    dataset: str
    outcome: Outcome
    backend: str
    counters: Mapping[str, int]

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return next(iter(self.files.values())).parent

    @property
    def seconds_per_question(self) -> float | None:
        """Wall-clock time of a question, all methods together; None where none was answered."""
        done = self.outcome
        return done.seconds / done.num_questions if done.num_questions else None

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a file, in the order of the questions; for per_prompt one a wording.

        Args:
            name: A method, or an estimator.

        Raises:
            UserError: There is no such file among them.
        """
        if name not in self.files:
            raise unknown_name("result", name, self.files)
        rows: list[dict[str, Any]] = read_table(self.files[name]).to_pylist()
        return rows

    @property
    def failed(self) -> frozenset[str]:
        """Ids of the questions that could not be asked or answered, with any of the methods."""
        return frozenset(
            row["uuid"]
            for path in self.files.values()
            for row in read_table(path).select(["uuid", "error"]).to_pylist()
            if row["error"] is not None
        )

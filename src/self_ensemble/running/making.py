"""What makes the rows of questions, and how they come to the disk.

A maker has the model and touches no file. So it may sit in another process than the files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import pyarrow as pa

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question
from self_ensemble.results.schema import rows_to_table
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.choice import Weights
from self_ensemble.running.finite_rows import FiniteRows, end_if


class FileRows(NamedTuple):
    """Rows of some questions for one file.

    Attributes:
        table: All rows of the questions, with the file's columns.
        not_finite: Why questions have rows that are not finite, by uuid.
    """

    table: pa.Table
    not_finite: Mapping[str, str]

    @classmethod
    def of(
        cls,
        rows: Sequence[Mapping[str, object]],
        schema: pa.Schema,
        not_finite: Mapping[str, str] | None = None,
    ) -> Self:
        """The same from rows by column name.

        Raises:
            ValueError: A row has not the columns of the schema.
        """
        return cls(rows_to_table(rows, schema), not_finite or {})


class BatchRows(NamedTuple):
    """What came of a batch, not on disk yet.

    Attributes:
        files: The rows of each file.
        progress: How many questions, how many of them failed, and how long it took.
    """

    files: Mapping[str, FileRows]
    progress: BatchProgress


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a maker beside the questions.

    Attributes:
        files: What rows are wanted of: methods, estimators.
        weights: Weights of the weighted methods by uuid.
        segment_weights: Weights inside attention by uuid.
    """

    files: tuple[str, ...]
    weights: Weights | None = None
    segment_weights: Weights | None = None

    def of(self, batch: Sequence[Question]) -> "Order":
        """The same with the weights of these questions alone."""
        uuids = [question.uuid for question in batch]
        return replace(
            self,
            weights=_of(self.weights, uuids),
            segment_weights=_of(self.segment_weights, uuids),
        )


@dataclass(frozen=True, slots=True)
class About:
    """What a maker is made of.

    Attributes:
        made_with: What manifests say of the model and the prompt; not of the questions.
        backend: The attention backend; empty where no causal model is asked.
        batch_size: Questions at once where the user names no number.
    """

    made_with: Mapping[str, object]
    backend: str
    batch_size: int


class Maker(Protocol):
    """A model that is loaded, and what makes rows with it."""

    @property
    def about(self) -> About:
        """What it is made of."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through the model, by name."""

    def make(self, batch: Sequence[Question], order: Order) -> BatchRows:
        """The rows of some questions.

        Raises:
            UserError: Something that the user gave does not work.
        """

    def give_up(self, question: Question, reason: str, order: Order) -> BatchRows:
        """The rows of a question that is not asked any more."""


def append_rows(made: Sequence[BatchRows], files: Mapping[str, FiniteRows]) -> None:
    """Put the rows of some batches on disk, those of a file together.

    Raises:
        UserError: Nothing of the run so far is finite, or the disk refuses.
    """
    problems: list[UserError | None] = []
    for name in made[0].files:
        found = [batch.files[name] for batch in made]
        not_finite = {uuid: why for one in found for uuid, why in one.not_finite.items()}
        table = pa.concat_tables([one.table for one in found])
        problems.append(files[name].append(table, not_finite))
    end_if(problems)


def _of(weights: Weights | None, uuids: Sequence[str]) -> Weights | None:
    return None if weights is None else {u: weights[u] for u in uuids if u in weights}

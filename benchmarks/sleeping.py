"""GPUs that sleep instead of computing, and give rows of the real columns and sizes.

One process holds many of them, since a process of its own for each would take 0.3 GB and some
seconds of a processor to start. To the driver each is a worker: it loads, has two batches at most,
and answers one after the other.
"""

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa

from self_ensemble.asking.methods import Method, resolve_methods
from self_ensemble.asking.request import Answer
from self_ensemble.ensemble import Ensemble
from self_ensemble.jobs.workers.actor import Made, Ready
from self_ensemble.jobs.workers.travel import pack_rows, unpack_questions
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.schema import rows_to_table
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.choice import WordingChoice
from self_ensemble.running.making import About, BatchRows, FileRows
from self_ensemble.running.rows import RowMaker, row_schema

WORDINGS = 5
# All that need no weights; one of them has a row a wording.
NUM_METHODS = 11
CHOICE = WordingChoice(WORDINGS)


def methods_of(num_methods: int) -> tuple[Method, ...]:
    """The first so many of the methods that "all" stands for."""
    return resolve_methods("all", has_weights=False)[:num_methods]


def sleeping_questions(num_questions: int) -> QuestionSet:
    """The bundled questions again and again, with texts of their own."""
    bundled = load_questions("demo")
    some = bundled.questions
    return replace(
        bundled,
        name="sleeping",
        questions=tuple(
            replace(
                some[n % len(some)],
                uuid=f"q{n:07d}",
                wordings=tuple(f"{text} ({n})" for text in some[n % len(some)].wordings),
            )
            for n in range(num_questions)
        ),
    )


@dataclass(slots=True)
class SleepingRows:
    """Rows as a model would give them, made in microseconds.

    Batches whose first questions have one answer differ in their uuids alone: what is measured
    is the driver, and both share the processors.
    """

    methods: tuple[Method, ...] = field(default_factory=lambda: methods_of(NUM_METHODS))
    _made: dict[tuple[str, tuple[str, ...], int], pa.Table] = field(default_factory=dict)
    _framing: Any = field(default_factory=lambda: load_questions("demo").framing)

    def make(self, batch: Sequence[Question], names: Collection[str]) -> BatchRows:
        """The rows of some questions, for the methods of these names."""
        return BatchRows(
            {
                method.name: FileRows(self._table(method, batch), {})
                for method in self.methods
                if method.name in names
            },
            BatchProgress(len(batch), 0, 0.0),
        )

    def _table(self, method: Method, batch: Sequence[Question]) -> pa.Table:
        key = (method.name, batch[0].answers, len(batch))
        if key not in self._made:
            rows = [row for question in batch for row in self._rows(method, question)]
            self._made[key] = rows_to_table(rows, row_schema(method))
        table = self._made[key]
        a_question = len(table) // len(batch)
        uuids = [question.uuid for question in batch for _ in range(a_question)]
        column = table.schema.field(0)
        assert column.name == "uuid"
        return table.set_column(0, column, pa.array(uuids, column.type))

    def _rows(self, method: Method, question: Question) -> Iterator[dict[str, object]]:
        text = question.answers[0]
        alone = Answer(method.name, text, f" {text}", (1, 2, 3, 4), (-0.5,) * 4, "stop")
        # All that rows are made with of an ensemble.
        ensemble = SimpleNamespace(
            frame=SimpleNamespace(wording=self._framing.wording, cue_text=self._framing.cue),
            engine=SimpleNamespace(backend_name="none"),
        )
        maker = RowMaker(cast(Ensemble, ensemble), CHOICE, 0.0025)
        answer = replace(alone, members=(alone,) * WORDINGS)
        return maker.rows(method, question, answer, None)


class SleepingMachine:
    """An actor with many GPUs that sleep."""

    def __init__(self, questions_per_s: float) -> None:
        self._rows = SleepingRows()
        self._questions_per_s = questions_per_s
        # When each GPU is through with what it has been given.
        self._free_at: dict[int, float] = {}

    async def load(self, gpu: int) -> Ready:
        """What a worker says when it has its model."""
        return Ready(About({}, "none", 1), {})

    async def make(self, gpu: int, packed: bytes) -> Made:
        """Rows, when a GPU would have them."""
        batch, order = unpack_questions(packed)
        now, seconds = time.monotonic(), len(batch) / self._questions_per_s
        # Not all in step: the first batch of each comes earlier, by less than a batch.
        first = now - seconds * (gpu * 0.618 % 1)
        begun = max(now, self._free_at[gpu]) if gpu in self._free_at else first
        self._free_at[gpu] = begun + seconds
        made = pack_rows(self._rows.make(batch, order.files), {})
        await asyncio.sleep(max(self._free_at[gpu] - time.monotonic(), 0.0))
        return Made(made)

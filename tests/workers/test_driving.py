"""The driver's loop, by workers that land as they are told: what Ray does is tested elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import SimpleNamespace

import pyarrow as pa
import pytest

from self_ensemble.errors import UserError
from self_ensemble.jobs.recipe import Task
from self_ensemble.jobs.workers.actor import Made, Refused, TooLarge
from self_ensemble.jobs.workers.batch_queue import Batch, BatchQueue
from self_ensemble.jobs.workers.travel import pack_rows, unpack_questions
from self_ensemble.questions.schema import Question
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.making import BatchRows, FileRows, Order

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install ray")

QUESTIONS = tuple(Question(f"q{n}", (f"Who built bridge {n}?",), ("x",)) for n in range(12))


def made_of(batch: Batch) -> Made:
    table = pa.table({"uuid": [question.uuid for question in batch.questions]})
    done = BatchProgress(len(batch.questions), 0, 0.0)
    return Made(pack_rows(BatchRows({"avg": FileRows(table, {})}, done), {"asked": len(table)}))


@dataclass
class Scripted:
    """A pool whose workers all land at once; what comes of a batch is said by a function."""

    num_workers: int
    outcome: Callable[[Batch], object] = made_of
    rounds: int = 0
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        actor = SimpleNamespace(make="make", give_up="give_up")
        self.members = [
            SimpleNamespace(actor=actor, counters={}, batch=None) for _ in range(self.num_workers)
        ]

    @property
    def busy(self) -> bool:
        return any(member.batch is not None for member in self.members)

    @property
    def num_loaded(self) -> int:
        return self.num_workers

    def free(self) -> list[SimpleNamespace]:
        return [member for member in self.members if member.batch is None]

    def submit(self, member, batch: Batch, method: str, packed: bytes, *more: object) -> None:
        assert unpack_questions(packed)[0] == list(batch.questions)
        member.batch = batch

    def drop_waiting(self) -> None:
        pass

    def landed(self) -> Iterator[object]:
        from self_ensemble.jobs.workers.pool import Landed

        self.rounds += 1
        for member in self.members:
            if member.batch is not None:
                batch, member.batch = member.batch, None
                yield Landed(member, batch, self.outcome(batch))


def drive(pool: Scripted, put: Callable[[Sequence[BatchRows]], None], size: int | None = 2):
    from self_ensemble.jobs.workers.driving import Drive

    queue = BatchQueue(QUESTIONS, size or 4)
    return Drive(
        pool,
        Task(Order(("avg",)), put, size),
        queue,
        accept=lambda ready: None,
        on_batch=lambda done: None,
        on_shrink=lambda before, after: None,
    )


def uuids(made: Sequence[BatchRows]) -> list[str]:
    return [uuid for rows in made for uuid in rows.files["avg"].table["uuid"].to_pylist()]


def test_what_has_landed_together_is_put_together() -> None:
    puts: list[list[str]] = []
    pool = Scripted(3)
    assert drive(pool, lambda made: puts.append(uuids(made))).run().num_questions == 12
    assert puts == [[f"q{n}" for n in range(6)], [f"q{n}" for n in range(6, 12)]]
    # The last word of each worker, and not their sum.
    assert [member.counters for member in pool.members] == [{"asked": 2}] * 3


def test_a_refusal_keeps_what_the_others_have_made() -> None:
    kept: list[str] = []

    def outcome(batch: Batch) -> object:
        return Refused("no rule", "SE-0605") if batch.questions[0].uuid == "q2" else made_of(batch)

    with pytest.raises(UserError, match="no rule"):
        drive(Scripted(3, outcome), lambda made: kept.extend(uuids(made))).run()
    assert kept == ["q0", "q1", "q4", "q5"]


def test_nothing_more_is_put_where_putting_was_refused() -> None:
    puts = 0

    def full(made: Sequence[BatchRows]) -> None:
        nonlocal puts
        puts += 1
        raise UserError("disk full", "SE-0701")

    pool = Scripted(2)
    loop = drive(pool, full)
    with pytest.raises(UserError, match="disk full"):
        loop.run()
    assert puts == 1
    # Neither is anything handed out.
    assert pool.rounds == 1


def test_a_crash_of_one_keeps_what_others_have_made() -> None:
    kept: list[str] = []

    def outcome(batch: Batch) -> object:
        if batch.questions[0].uuid == "q4":
            raise ZeroDivisionError
        return made_of(batch)

    with pytest.raises(ZeroDivisionError):
        drive(Scripted(3, outcome), lambda made: kept.extend(uuids(made))).run()
    assert kept == ["q0", "q1", "q2", "q3"]


def test_batches_that_do_not_fit_are_halved_for_all() -> None:
    sizes: list[int] = []

    def outcome(batch: Batch) -> object:
        sizes.append(len(batch.questions))
        return TooLarge() if len(batch.questions) > 2 else made_of(batch)

    kept: list[str] = []
    drive(Scripted(2, outcome), lambda made: kept.extend(uuids(made)), size=None).run()
    assert sizes == [4, 4, *[2] * 6]
    assert sorted(kept) == sorted(question.uuid for question in QUESTIONS)

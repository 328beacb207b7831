"""The driver: it hands batches to whoever is free, and alone puts rows on disk."""

import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from self_ensemble.errors import Stopped, UserError
from self_ensemble.jobs.answering import Recipe, Task
from self_ensemble.jobs.filling import Work
from self_ensemble.jobs.inputs import ModelOptions
from self_ensemble.jobs.progress import Progress
from self_ensemble.jobs.workers.actor import Made, Ready, Refused, TooLarge, Worker, rules_of
from self_ensemble.jobs.workers.batch_queue import Batch, BatchQueue, after_death
from self_ensemble.jobs.workers.cluster import ray_cluster
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.questions.schema import Question
from self_ensemble.results.interrupt import finish_batch_on_signal
from self_ensemble.results.manifest import Manifest, described, differences
from self_ensemble.running.answering import append_rows
from self_ensemble.running.batches import BatchProgress, Outcome
from self_ensemble.running.made_with import MAY_DIFFER, QUESTIONS, questions_sha256

if TYPE_CHECKING:
    from self_ensemble.jobs.workers.pool import Pool


@dataclass(slots=True)
class OnWorkers:
    """Answers made by workers.

    Attributes:
        recipe: What each has a model and an ensemble from; without questions.
        pool: The workers.
        ready: What the first one said when its model was loaded.
        made_with: What manifests say.
    """

    recipe: Recipe
    pool: "Pool"
    ready: Ready
    made_with: Mapping[str, object]

    @property
    def backend(self) -> str:
        """The attention backend."""
        return self.ready.backend

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through all models, by name; of workers that died what they had said."""
        total: Counter[str] = Counter()
        for one in (*self.pool.counters_of_dead, *(m.counters for m in self.pool.members)):
            total.update(one)
        return dict(total)

    def work(self, task: Task) -> Work:
        """Batches, whoever is free."""
        return partial(self._run, task)

    def _run(
        self,
        task: Task,
        todo: Sequence[Question],
        *,
        on_batch: Callable[[BatchProgress], None],
        on_shrink: Callable[[int, int], None],
    ) -> Outcome:
        started, num_answered = time.perf_counter(), 0
        queue = BatchQueue(todo, task.batch_size or self.ready.batch_size)
        with finish_batch_on_signal() as interruption:
            while True:
                if interruption.received is None:
                    self._hand_out(queue, task)
                else:
                    self.pool.drop_waiting()
                # With all workers being replaced none has a batch, and there is one to hand out.
                if not self.pool.busy and (queue.empty or interruption.received is not None):
                    break
                landed = self.pool.landed()
                if landed is None:
                    continue
                member, batch, result = landed
                if isinstance(result, Made):
                    append_rows(result.rows, task.files)
                    member.counters = dict(result.counters)
                    done = result.rows.progress
                    num_answered += done.num_questions - done.num_errors
                    on_batch(done)
                else:
                    queue.put_back(self._not_made(batch, result, task, queue, on_shrink))
            if interruption.received is not None:
                raise Stopped(interruption.exit_code)
        return Outcome(num_answered, time.perf_counter() - started)

    def _hand_out(self, queue: BatchQueue, task: Task) -> None:
        while (member := self.pool.free()) is not None:
            batch = queue.take()
            if batch is None:
                return
            methods = tuple(task.files)
            if batch.given_up is None:
                uuids = [question.uuid for question in batch.questions]
                call = member.actor.answer.remote(
                    batch.questions,
                    methods,
                    _of(task.weights, uuids),
                    _of(task.segment_weights, uuids),
                )
            else:
                call = member.actor.give_up.remote(batch.questions[0], batch.given_up, methods)
            self.pool.submit(member, batch, call)

    def _not_made(
        self,
        batch: Batch | None,
        result: object,
        task: Task,
        queue: BatchQueue,
        on_shrink: Callable[[int, int], None],
    ) -> list[Batch]:
        """What is to be done because a call has given no rows."""
        from self_ensemble.jobs.workers.pool import Died

        match result:
            case Ready():
                self.accept(result)
                return []
            case Refused(line):
                raise UserError(line)
            case Died(reason, waiting):
                return [*([] if batch is None else after_death(batch, reason)), *waiting]
            case TooLarge():
                assert batch is not None
                size = len(batch.questions)
                if task.batch_size is not None or size == 1:
                    raise UserError(
                        f"{size} questions at once do not fit into memory. What is done is kept; "
                        "use a smaller --batch-size."
                    )
                smaller = -(-size // 2)
                if smaller < queue.batch_size:
                    queue.batch_size = smaller
                    on_shrink(size, smaller)
                return [batch]
        raise AssertionError(result)

    def accept(self, ready: Ready) -> None:
        """Refuse a worker whose answers might be others than those of the first one.

        Raises:
            UserError: Its model, its prompt or a rule differs.
        """
        first, other = (
            Manifest({**one.made_with, "rules": one.rules}) for one in (self.ready, ready)
        )
        changed = differences(first, other, MAY_DIFFER)
        if changed:
            raise UserError(
                f"The workers differ ({described(changed)}). Give all of them the same files and "
                "versions."
            )


@contextmanager
def answering_on_workers(
    recipe: Recipe, workers: Workers, progress: Progress
) -> Iterator[OnWorkers]:
    """Have workers while the block runs.

    Raises:
        UserError: There is no Ray, the model is one that is loaded, or a worker cannot load it.
    """
    model = recipe.model.given
    if not isinstance(model, ModelOptions):
        raise UserError(
            "Workers load the model themselves. Give its name, its folder or ModelOptions, not a "
            "model that is loaded."
        )
    questions = recipe.question_set.questions
    sent = replace(recipe, question_set=replace(recipe.question_set, questions=()))
    num_workers = max(min(workers.num_workers, len(questions)), 1)
    with ray_cluster(workers, num_workers, model.device) as share:
        import ray

        from self_ensemble.jobs.workers.pool import Pool

        worker: Any = ray.remote(Worker).options(
            num_cpus=share.num_cpus, num_gpus=share.num_gpus, max_restarts=0, max_task_retries=0
        )
        progress.say(f"Workers: {num_workers}.")
        pool = Pool(
            partial(worker.remote, _pickled(sent), list(sys.path)),
            num_workers,
            max_restarts=workers.max_worker_restarts,
            batch_timeout=workers.batch_timeout,
        )
        try:
            with progress.loading(recipe.model.name):
                ready = _first_ready(pool)
            made_with = {**ready.made_with, QUESTIONS: questions_sha256(questions)}
            found = OnWorkers(sent, pool, ready, made_with)
            # The driver's own rules are what the manifest says.
            found.accept(replace(ready, rules=rules_of(recipe.methods)))
            yield found
        finally:
            pool.close()


def _first_ready(pool: "Pool") -> Ready:
    while True:
        landed = pool.landed()
        if landed is None:
            continue
        match landed.result:
            case Ready():
                return landed.result
            case Refused(line):
                raise UserError(line)


def _pickled(recipe: Recipe) -> bytes:
    from ray import cloudpickle

    try:
        found: bytes = cloudpickle.dumps(recipe)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise UserError(
            f"A fusion rule cannot be sent to workers ({error}). Give one that a module holds, or "
            "leave workers out."
        ) from error
    return found


def _of(
    weights: Mapping[str, tuple[float, ...]] | None, uuids: Sequence[str]
) -> dict[str, tuple[float, ...]] | None:
    """The weights of some questions; the others' stay with the driver."""
    return None if weights is None else {u: weights[u] for u in uuids if u in weights}

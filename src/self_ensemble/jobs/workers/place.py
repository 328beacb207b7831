"""Workers as the place where a job's rows are made."""

import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from self_ensemble.errors import UserError
from self_ensemble.jobs.filling import Work
from self_ensemble.jobs.inputs import ModelOptions
from self_ensemble.jobs.progress import Progress
from self_ensemble.jobs.recipe import Recipe, Task
from self_ensemble.jobs.workers.actor import Ready, Worker
from self_ensemble.jobs.workers.batch_queue import BatchQueue
from self_ensemble.jobs.workers.cluster import ray_cluster
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.questions.schema import Question
from self_ensemble.results.manifest import Manifest, described, differences
from self_ensemble.running.batches import BatchProgress, Outcome
from self_ensemble.running.made_with import MAY_DIFFER
from self_ensemble.running.making import About

if TYPE_CHECKING:
    from self_ensemble.jobs.workers.pool import Pool


@dataclass(frozen=True, slots=True)
class OnWorkers:
    """Makers in processes of their own.

    Attributes:
        pool: The workers.
        ready: What the first one said when its model was loaded.
    """

    pool: "Pool"
    ready: Ready

    @property
    def about(self) -> About:
        """What the makers are made of."""
        return self.ready.about

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
        from self_ensemble.jobs.workers.driving import Drive

        queue = BatchQueue(todo, task.batch_size or self.about.batch_size)
        return Drive(self.pool, task, queue, self.accept, on_batch, on_shrink).run()

    def accept(self, ready: Ready) -> None:
        """Refuse a worker whose rows might be others than those of the first one.

        Raises:
            UserError: Its model, its prompt or the user's code differs.
        """
        first, other = (
            Manifest({**one.about.made_with, "rules": one.rules}) for one in (self.ready, ready)
        )
        changed = differences(first, other, MAY_DIFFER)
        if changed:
            raise UserError(
                f"The workers differ ({described(changed)}). Give all of them the same files and "
                "versions.",
                "SE-0806",
            )


@contextmanager
def on_workers(
    recipe: Recipe, workers: Workers, num_questions: int, progress: Progress
) -> Iterator[OnWorkers]:
    """Have workers while the block runs.

    Raises:
        UserError: There is no Ray, the model is one that is loaded, or a worker cannot load it.
    """
    model = recipe.model.given
    if not isinstance(model, ModelOptions):
        raise UserError(
            "Workers load the model themselves. Give its name, its folder or ModelOptions, not a "
            "model that is loaded.",
            "SE-0807",
        )
    num_workers = max(min(workers.num_workers, num_questions), 1)
    with ray_cluster(workers, num_workers, model.device) as cluster:
        share = cluster.share
        import ray

        from self_ensemble.jobs.workers.driving import first_ready
        from self_ensemble.jobs.workers.pool import Pool

        worker: Any = ray.remote(Worker).options(
            num_cpus=share.num_cpus, num_gpus=share.num_gpus, max_restarts=0, max_task_retries=0
        )
        progress.say(f"Workers: {num_workers}.")
        pool = Pool(
            partial(worker.remote, _pickled(recipe), list(sys.path)),
            num_workers,
            max_restarts=workers.max_worker_restarts,
            batch_timeout=workers.batch_timeout,
            look=cluster.look,
            on_wait=lambda number: progress.warn(
                f"{number} of {num_workers} workers have not started yet. Each needs {share}; "
                f"{cluster.free()}."
            ),
        )
        try:
            with progress.loading(recipe.loads):
                ready = first_ready(pool)
            found = OnWorkers(pool, ready)
            # The driver's own rules are what the manifest says.
            found.accept(replace(ready, rules=recipe.rules()))
            yield found
        finally:
            pool.close()


def _pickled(recipe: Recipe) -> bytes:
    from ray import cloudpickle

    try:
        found: bytes = cloudpickle.dumps(recipe)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise UserError(
            f"What the run is made with cannot be sent to workers ({error}). Have a module hold "
            "your fusion rules, or leave workers out.",
            "SE-0807",
        ) from error
    return found

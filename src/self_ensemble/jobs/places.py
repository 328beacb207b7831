"""Where the rows of a job are made: in this process, or with workers."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

from self_ensemble.jobs.filling import Work, fill, leave_out_finished
from self_ensemble.jobs.progress import Progress
from self_ensemble.jobs.recipe import Place, Recipe, Task
from self_ensemble.jobs.results import Results
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.jobs.workers.place import on_workers
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.store import ResultFile
from self_ensemble.running.batches import BatchProgress, Outcome, run_batches
from self_ensemble.running.finite_rows import held_back
from self_ensemble.running.making import About, Maker, Order, append_rows


@dataclass(frozen=True)
class Here:
    """A maker in this process."""

    maker: Maker

    @cached_property
    def about(self) -> About:
        """What the maker is made of; digesting its tokenizer takes a while."""
        return self.maker.about

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through the model, by name."""
        return self.maker.counters

    def work(self, task: Task) -> Work:
        """Batch after batch."""
        return partial(self._run, task)

    def _run(
        self,
        task: Task,
        todo: Sequence[Question],
        *,
        on_batch: Callable[[BatchProgress], None],
        on_shrink: Callable[[int, int], None],
    ) -> Outcome:
        def run_batch(batch: Sequence[Question]) -> BatchProgress:
            started = time.perf_counter()
            made = self.maker.make(batch, task.order)
            task.put([made])
            return made.progress._replace(seconds=time.perf_counter() - started)

        return run_batches(
            todo,
            run_batch,
            batch_size=task.batch_size or self.about.batch_size,
            may_shrink=task.batch_size is None,
            on_batch=on_batch,
            on_shrink=on_shrink,
        )


@contextmanager
def place_of(
    recipe: Recipe, workers: Workers | None, num_questions: int, progress: Progress
) -> Iterator[Place]:
    """Have what a recipe says loaded while the block runs.

    Args:
        recipe: What to load.
        workers: Who loads it; None for this process.
        num_questions: There are never more workers.
        progress: Who is told.

    Raises:
        UserError: It cannot be loaded, or there is no Ray.
    """
    if workers is None:
        yield Here(recipe.maker(progress))
        return
    with on_workers(recipe, workers, num_questions, progress) as place:
        yield place


def fill_from(
    place: Place,
    files: Mapping[str, ResultFile],
    question_set: QuestionSet,
    order: Order,
    *,
    batch_size: int | None,
    progress: Progress,
    doing: str,
) -> Results:
    """Fill the files that are not finished with rows of a place.

    Args:
        place: Where the rows are made.
        files: All open files, by what makes their rows.
        question_set: The questions.
        order: What is asked beside them; of the unfinished files.
        batch_size: Questions at once; None lets it shrink to what fits.
        progress: Who is told.
        doing: What is done to the questions, for a progress bar.

    Returns:
        The files, which are finished, and what was done.

    Raises:
        Stopped: By a signal; what is on disk is kept.
        UserError: As `fill`.
    """
    questions = question_set.questions
    unfinished = leave_out_finished(files, progress)
    put = partial(append_rows, files=held_back(unfinished, len(questions)))
    task = Task(replace(order, files=tuple(unfinished)), put, batch_size)
    work = place.work(task)
    outcome = fill(unfinished.values(), questions, work, progress=progress, doing=doing)
    return Results(
        {name: file.path for name, file in files.items()},
        question_set.name,
        outcome,
        place.about.backend,
        dict(place.counters),
    )

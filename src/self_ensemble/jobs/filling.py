"""Result files being filled: what is on disk is left out, a stopped run goes on later."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from self_ensemble.errors import Stopped
from self_ensemble.jobs.progress import Progress
from self_ensemble.questions.schema import Question
from self_ensemble.results.store import ResultFile
from self_ensemble.running.batches import BatchProgress, Outcome


def leave_out_finished(
    files: Mapping[str, ResultFile], progress: Progress
) -> dict[str, ResultFile]:
    """The files that are not finished yet; says which are, and what was repaired."""
    say_repaired(files.values(), progress)
    finished = [name for name, file in files.items() if file.finished]
    if finished:
        progress.say(f"Finished already: {', '.join(finished)}.")
    return {name: file for name, file in files.items() if name not in finished}


def say_repaired(files: Iterable[ResultFile], progress: Progress) -> None:
    """Say what a repair has set aside."""
    for file in files:
        for line in file.repaired:
            progress.warn(line)


def say_shrunk(progress: Progress) -> Callable[[int, int], None]:
    """What says that batches are made smaller."""
    return lambda size, smaller: progress.say(
        f"{size} questions at once do not fit into memory; going on with {smaller}."
    )


class Work(Protocol):
    """What puts the rows of questions into files, and says how it goes."""

    def __call__(
        self,
        todo: Sequence[Question],
        *,
        on_batch: Callable[[BatchProgress], None],
        on_shrink: Callable[[int, int], None],
    ) -> Outcome:
        """Work through the questions, until they are done or a signal says to stop."""


def fill(
    files: Collection[ResultFile],
    questions: Sequence[Question],
    work: Work,
    *,
    progress: Progress,
    doing: str,
) -> Outcome:
    """Put every question that a file lacks into the files, batch by batch.

    Args:
        files: Open, unfinished files.
        questions: All questions of the files, in their order.
        work: Puts rows into all of the files.
        progress: Who is told.
        doing: What is done to the questions, for a progress bar.

    Returns:
        What was done; the files are finished.

    Raises:
        Stopped: By a signal; what is on disk is kept.
        UserError: As `work`, or a file cannot be finished.
    """
    if not files:
        return Outcome(0, 0.0)
    done = frozenset.intersection(*(frozenset(file.done) for file in files))
    if done:
        progress.say(f"Going on after {len(done)} of {len(questions)} questions.")
    with progress.working(doing, len(questions), len(done)) as on_batch:
        try:
            outcome = work(
                [question for question in questions if question.uuid not in done],
                on_batch=on_batch,
                on_shrink=say_shrunk(progress),
            )
        except Stopped:
            progress.say("Stopped after a whole batch. Run the same command again to go on.")
            raise
    for file in files:
        file.finish()
    return outcome

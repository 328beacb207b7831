"""Result files being filled: what is on disk is left out, a stopped run goes on later."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import typer
from rich.console import Console

from self_ensemble.batches import BatchProgress, Outcome, run_batches
from self_ensemble.cli.setup import progress_bar
from self_ensemble.questions.schema import Question
from self_ensemble.results.store import ResultFile


def leave_out_finished(files: Mapping[str, ResultFile], console: Console) -> dict[str, ResultFile]:
    """The files that are not finished yet; says which are, and what was repaired."""
    say_repaired(files.values())
    finished = [name for name, file in files.items() if file.finished]
    if finished:
        console.print(f"Finished already: {', '.join(finished)}.")
    return {name: file for name, file in files.items() if name not in finished}


def say_repaired(files: Iterable[ResultFile]) -> None:
    """Say what --repair has set aside; on standard error, beside a JSON line as well."""
    for file in files:
        for line in file.repaired:
            typer.echo(line, err=True)


def fill(
    files: Collection[ResultFile],
    questions: Sequence[Question],
    run_batch: Callable[[Sequence[Question]], BatchProgress],
    *,
    batch_size: int,
    may_shrink: bool,
    console: Console,
    doing: str,
) -> Outcome:
    """Put every question that a file lacks into the files, batch by batch.

    Args:
        files: Open, unfinished files.
        questions: All questions of the files, in their order.
        run_batch: Puts the rows of some questions into all of the files.
        batch_size: Questions per batch.
        may_shrink: Whether a batch that does not fit into memory is tried again at half the
            size; rows do not depend on it.
        console: Where progress and messages go.
        doing: What the progress bar says is done to the questions.

    Returns:
        How it ended; the files are finished unless a signal came.
    """
    if not files:
        return Outcome(0, 0.0, 0)
    done = frozenset.intersection(*(file.done for file in files))
    if done:
        console.print(f"Going on after {len(done)} of {len(questions)} questions.")
    with progress_bar(console, doing, len(questions), len(done)) as on_batch:
        outcome = run_batches(
            [question for question in questions if question.uuid not in done],
            run_batch,
            batch_size=batch_size,
            may_shrink=may_shrink,
            on_batch=on_batch,
            on_shrink=lambda size, smaller: console.print(
                f"{size} questions at once do not fit into memory; going on with {smaller}."
            ),
        )
    if outcome.signal_exit_code:
        console.print("Stopped after a whole batch. Run the same command again to go on.")
        return outcome
    for file in files:
        file.finish()
    return outcome

"""Batches of a run: a signal ends it between two, and one that is too large is halved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from self_ensemble.errors import Stopped, UserError, is_out_of_memory
from self_ensemble.models.load import LoadedModel
from self_ensemble.results.interrupt import finish_batch_on_signal

T = TypeVar("T")


class BatchProgress(NamedTuple):
    """What a finished batch reports.

    Attributes:
        num_questions: Questions of the batch.
        num_errors: How many of them could not be asked or answered.
        seconds: How long it took.
        num_workers: Workers that have a model; 0 where this process has it.
    """

    num_questions: int
    num_errors: int
    seconds: float
    num_workers: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has done.

    Attributes:
        num_questions: Questions answered now; error rows do not count.
        seconds: Wall-clock time of the batches.
    """

    num_questions: int
    seconds: float


def run_batches(
    todo: Sequence[T],
    run_batch: Callable[[Sequence[T]], BatchProgress],
    *,
    batch_size: int,
    may_shrink: bool,
    on_batch: Callable[[BatchProgress], None] = lambda progress: None,
    on_shrink: Callable[[int, int], None] = lambda size, smaller: None,
) -> Outcome:
    """Work through a list in batches, until it is done or a signal says to stop.

    Args:
        todo: What is to be done.
        run_batch: Does one batch and puts what came of it on disk.
        batch_size: Entries of a batch.
        may_shrink: Whether a batch that does not fit into memory is tried again at half the
            size; what is computed must not depend on it.
        on_batch: Called after each batch.
        on_shrink: Called with the size that did not fit and the one that is tried instead.

    Raises:
        Stopped: By a signal, after a whole batch.
        UserError: A batch does not fit into memory and may not shrink, or one entry does not fit.
    """
    if batch_size < 1:
        raise UserError(f"Got --batch-size {batch_size}. Give 1 or more.", "SE-0010")
    total, spent, start = 0, 0.0, 0
    with finish_batch_on_signal() as interruption:
        while start < len(todo):
            batch = todo[start : start + batch_size]
            try:
                progress = run_batch(batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if not may_shrink or len(batch) == 1:
                    raise UserError(
                        f"{len(batch)} questions at once do not fit into memory. What is done is "
                        "kept; use a smaller --batch-size.",
                        "SE-0406",
                    ) from error
                batch_size = -(-len(batch) // 2)
                on_shrink(len(batch), batch_size)
                continue
            start += len(batch)
            total += progress.num_questions - progress.num_errors
            spent += progress.seconds
            on_batch(progress)
            if interruption.received is not None:
                raise Stopped(interruption.exit_code)
    return Outcome(total, spent)


def default_batch_size(model: LoadedModel) -> int:
    """Questions per batch where the user names none: 16 on a CPU, 64 on an accelerator."""
    return 16 if model.device.type == "cpu" else 64

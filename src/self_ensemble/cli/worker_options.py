"""Options of commands that can be worked on by several models at once, by Ray."""

from typing import TYPE_CHECKING, Annotated

import typer

from self_ensemble.errors import UserError

if TYPE_CHECKING:
    from self_ensemble.jobs.workers.options import Workers

WORKERS = "Workers"

NumWorkers = Annotated[
    int | None,
    typer.Option(
        help="Work with so many workers, each with a model of its own, by Ray "
        r'(pip install "self-ensemble\[ray]").',
        rich_help_panel=WORKERS,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="local (default) starts Ray on this machine; an address or auto joins a cluster.",
        rich_help_panel=WORKERS,
    ),
]
CpusPerWorker = Annotated[
    float | None,
    typer.Option(
        help="Processors of a worker. Default: this machine's shared out; 1 on a cluster.",
        rich_help_panel=WORKERS,
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        help="GPUs of a worker, 0.5 for two on one. Default: 1 where there are any.",
        rich_help_panel=WORKERS,
    ),
]
MaxWorkerRestarts = Annotated[
    int | None,
    typer.Option(
        help="How often workers that died are replaced, in all. Default: 16.",
        rich_help_panel=WORKERS,
    ),
]
BatchTimeout = Annotated[
    float | None,
    typer.Option(
        help="Seconds after which a worker that answers a batch counts as dead. Default: never.",
        rich_help_panel=WORKERS,
    ),
]


def parse_workers(
    num_workers: int | None,
    ray: str | None,
    cpus_per_worker: float | None,
    gpus_per_worker: float | None,
    max_worker_restarts: int | None,
    batch_timeout: float | None,
) -> "Workers | None":
    """The workers that are asked for; None everywhere stands for the defaults of `Workers`.

    Raises:
        UserError: Something is said of workers, and none are asked for.
    """
    given = {
        "ray": ray,
        "cpus_per_worker": cpus_per_worker,
        "gpus_per_worker": gpus_per_worker,
        "max_worker_restarts": max_worker_restarts,
        "batch_timeout": batch_timeout,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if num_workers is None:
        for name in chosen:
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"{option} is for workers. Give --workers as well, or leave it out.", "SE-0012"
            )
        return None
    from self_ensemble.jobs.workers.options import Workers

    return Workers(num_workers, **chosen)  # type: ignore[arg-type]

"""How many workers there are, and where."""

from dataclasses import dataclass

from self_ensemble.errors import UserError

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Workers:
    """Ray workers, each with a model of its own.

    Attributes:
        num_workers: How many at most; never more than there are questions.
        ray: "local" starts Ray on this machine and ends it; "auto" or an address joins a cluster.
        cpus_per_worker: Processors, and threads, of a worker; None shares those of this machine
            out, and takes one on a cluster.
        gpus_per_worker: None takes one where there are any and the device is not "cpu", else 0.
        max_worker_restarts: How often workers that died are replaced, in all.
        batch_timeout: Seconds after which a worker that answers a batch counts as dead; None
            waits.
    """

    num_workers: int = 2
    ray: str = LOCAL
    cpus_per_worker: float | None = None
    gpus_per_worker: float | None = None
    max_worker_restarts: int = 16
    batch_timeout: float | None = None

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UserError: A number is too small.
        """
        if self.ray.startswith("ray://"):
            raise UserError(
                f"Got --ray {self.ray}. Give the head as host:port, on a machine of the "
                "cluster; Ray's client mode is not for runs that write where they are started.",
                "SE-0803",
            )
        if self.num_workers < 1:
            raise UserError(f"Got {self.num_workers} workers. Give 1 or more.", "SE-0010")
        if self.max_worker_restarts < 0:
            raise UserError(
                f"Got {self.max_worker_restarts} restarts of workers. Give 0 or more.", "SE-0010"
            )
        if self.cpus_per_worker is not None and not self.cpus_per_worker > 0:
            raise UserError(
                f"Got {self.cpus_per_worker} CPUs per worker. Give more than 0.", "SE-0010"
            )
        if self.gpus_per_worker is not None and not self.gpus_per_worker >= 0:
            raise UserError(
                f"Got {self.gpus_per_worker} GPUs per worker. Give 0 or more.", "SE-0010"
            )
        if self.batch_timeout is not None and not self.batch_timeout > 0:
            raise UserError(
                f"Got a batch timeout of {self.batch_timeout} s. Give more than 0.", "SE-0010"
            )

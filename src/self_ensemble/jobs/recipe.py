"""What a job asks of a place that has a model, which need not be this process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from self_ensemble.jobs.filling import Work
from self_ensemble.jobs.inputs import LateModel
from self_ensemble.jobs.progress import Progress
from self_ensemble.running.making import About, BatchRows, Maker, Order


class Recipe(Protocol):
    """All that a maker is made from, small enough to be sent; it holds no questions."""

    @property
    def model(self) -> LateModel:
        """Which model, and where it runs."""

    @property
    def loads(self) -> str:
        """What takes long to load."""

    def maker(self, progress: Progress) -> Maker:
        """Load the model and put the maker together.

        Raises:
            UserError: The model cannot be loaded, or does not fit the rest.
        """

    def rules(self) -> Mapping[str, object]:
        """Code of the user's that rows depend on, by content.

        Raises:
            UserError: It computes with something that has no content.
        """


@dataclass(frozen=True, slots=True)
class Task:
    """What is done with a maker.

    Attributes:
        order: What is asked of it.
        put: Takes the rows of one batch or more, in this process.
        batch_size: Questions at once; None lets it shrink to what fits.
    """

    order: Order
    put: Callable[[Sequence[BatchRows]], None]
    batch_size: int | None


class Place(Protocol):
    """Where makers are: in this process, or with workers."""

    @property
    def about(self) -> About:
        """What the makers are made of."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through all models, by name."""

    def work(self, task: Task) -> Work:
        """What makes rows of questions and puts them."""

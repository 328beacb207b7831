"""What a job tells while it runs."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # they import torch, which scoring does without
    from self_ensemble.models.load import LoadedModel
    from self_ensemble.running.batches import BatchProgress


class Progress(Protocol):
    """Who is told; the command line prints it, a notebook may draw it."""

    def say(self, line: str) -> None:
        """Something worth knowing, such as what was finished already."""

    def warn(self, line: str) -> None:
        """Something that must be seen whatever else is asked, such as what was set aside."""

    def loading(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """While something is loaded; gives what is told the bytes read, and those to read."""

    def loaded(self, model: "LoadedModel") -> None:
        """A model is there."""

    def working(
        self, doing: str, total: int, done: int
    ) -> AbstractContextManager[Callable[["BatchProgress"], None]]:
        """While questions are worked on, some of which are done; gives what each batch is told."""


class Silent:
    """A `Progress` that keeps it to itself, but for warnings."""

    def say(self, line: str) -> None:
        """Nothing is said."""

    def warn(self, line: str) -> None:
        """A Python warning."""
        warnings.warn(line, stacklevel=2)

    @contextmanager
    def loading(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Nothing is shown."""
        yield lambda done, total: None

    def loaded(self, model: "LoadedModel") -> None:
        """Nothing is said."""

    @contextmanager
    def working(
        self, doing: str, total: int, done: int
    ) -> Iterator[Callable[["BatchProgress"], None]]:
        """Nothing is shown."""
        yield lambda batch: None


SILENT = Silent()

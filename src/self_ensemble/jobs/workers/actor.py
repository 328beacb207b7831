"""What a worker does: it loads the model once, and makes rows. It writes no file.

What a user can cause is returned and not raised: an exception that travels is wrapped on its way.
"""

import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from self_ensemble.errors import UserError, is_out_of_memory
from self_ensemble.jobs.progress import SILENT
from self_ensemble.jobs.recipe import Recipe
from self_ensemble.jobs.workers.travel import pack_rows, unpack_questions
from self_ensemble.running.making import About, Maker


@dataclass(frozen=True, slots=True)
class Ready:
    """A model is loaded.

    Attributes:
        about: What the maker is made of.
        rules: Code of the user's, by content.
    """

    about: About
    rules: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Made:
    """Rows of a batch, see `travel.unpack_rows`."""

    packed: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The run cannot go on, with the line for the user and its code."""

    line: str
    code: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The batch did not fit into memory."""


class Worker:
    """One model and what makes rows with it."""

    def __init__(self, recipe: bytes, path: Sequence[str]) -> None:
        """Nothing is loaded yet.

        Args:
            recipe: What the maker is made from, pickled: a rule of the user's is found again
                only once it is known where to look.
            path: Where the driver finds modules.
        """
        sys.path += [place for place in path if place not in sys.path]
        self._recipe = recipe
        self._loaded: Maker | None = None

    def load(self) -> Ready | Refused:
        """Load the model; comes before everything else."""
        try:
            recipe: Recipe = pickle.loads(self._recipe)
        except (ImportError, AttributeError) as error:
            return Refused(
                f"A worker cannot load what the run is made with ({type(error).__name__}: "
                f"{error}). Have the same self-ensemble, and the modules of your rules, on every "
                "machine.",
                "SE-0806",
            )
        try:
            self._loaded = maker = recipe.maker(SILENT)
            return Ready(maker.about, recipe.rules())
        except UserError as error:
            return Refused(str(error), error.code)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return Refused(
                f"A worker has not the memory for its model ({error}). Give fewer --workers, or a "
                "smaller model.",
                "SE-0308",
            )

    def make(self, packed: bytes) -> Made | Refused | TooLarge:
        """The rows of some questions; see `travel.pack_questions`."""
        maker = self._maker
        try:
            return Made(pack_rows(maker.make(*unpack_questions(packed)), maker.counters))
        except UserError as error:
            return Refused(str(error), error.code)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return TooLarge()

    def give_up(self, packed: bytes, reason: str) -> Made:
        """The rows of a question that is not asked any more."""
        maker = self._maker
        (question,), order = unpack_questions(packed)
        return Made(pack_rows(maker.give_up(question, reason, order), maker.counters))

    @property
    def _maker(self) -> Maker:
        assert self._loaded is not None, "the model is not loaded"
        return self._loaded

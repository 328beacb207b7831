"""What a worker does: it loads the model once, and makes rows. It writes no file.

What a user can cause is returned and not raised: an exception that travels is wrapped on its way.
"""

import pickle
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from self_ensemble.asking.methods import Method
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError, is_out_of_memory
from self_ensemble.identity.values import code_identity
from self_ensemble.jobs.answering import Recipe
from self_ensemble.jobs.inputs import default_batch_size
from self_ensemble.jobs.progress import SILENT
from self_ensemble.questions.schema import Question
from self_ensemble.running.answering import BatchRows, error_rows, make_rows
from self_ensemble.running.choice import Weights
from self_ensemble.running.made_with import manifest_fields
from self_ensemble.walking.user_rule import own_function


@dataclass(frozen=True, slots=True)
class Ready:
    """A model is loaded.

    Attributes:
        made_with: What manifests say of the model and the prompt; not of the questions.
        rules: The user's own fusion rules, by content.
        backend: The attention backend.
        batch_size: Questions at once where the user names no number.
    """

    made_with: Mapping[str, object]
    rules: Mapping[str, object]
    backend: str
    batch_size: int


@dataclass(frozen=True, slots=True)
class Made:
    """Rows of a batch, and what has gone through the model since it was loaded."""

    rows: BatchRows
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Refused:
    """The run cannot go on, with the line for the user."""

    line: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The batch did not fit into memory."""


def rules_of(methods: Collection[Method]) -> dict[str, object]:
    """The user's own fusion rules among methods, by content.

    Raises:
        UserError: A rule computes with something that has no content.
    """
    return {
        method.name: code_identity(own_function(method.rule))
        for method in methods
        if method.rule is not None and ":" in method.name
    }


class Worker:
    """One model and its ensemble."""

    def __init__(self, recipe: bytes, path: Sequence[str]) -> None:
        """Nothing is loaded yet.

        Args:
            recipe: What the ensemble is made from, pickled: a rule of the user's is found again
                only once it is known where to look.
            path: Where the driver finds modules.
        """
        sys.path += [place for place in path if place not in sys.path]
        self._pickled = recipe
        self._recipe: Recipe
        self._ensemble: Ensemble | None = None
        self._methods: tuple[Method, ...] = ()

    def load(self) -> Ready | Refused:
        """Load the model; comes before everything else."""
        try:
            self._recipe = pickle.loads(self._pickled)
        except (ImportError, AttributeError) as error:
            return Refused(
                f"A worker cannot load a rule ({type(error).__name__}: {error}). Have its module "
                "on every machine, where Python finds it."
            )
        try:
            ensemble = self._recipe.ensemble(SILENT)
            ready = Ready(
                manifest_fields(ensemble, self._recipe.question_set, {}),
                rules_of(ensemble.methods),
                ensemble.engine.backend_name,
                default_batch_size(ensemble.model),
            )
        except UserError as error:
            return Refused(str(error))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return Refused(
                f"A worker has not the memory for its model ({error}). Give fewer --workers, or a "
                "smaller model."
            )
        self._ensemble, self._methods = ensemble, ensemble.methods
        return ready

    def answer(
        self,
        batch: Sequence[Question],
        methods: Collection[str],
        weights: Weights | None,
        segment_weights: Weights | None,
    ) -> Made | Refused | TooLarge:
        """Answer a batch of questions with some of the methods."""
        ensemble = self._with(methods)
        try:
            rows = make_rows(
                batch,
                ensemble=ensemble,
                choice=self._recipe.choice,
                weights=weights,
                segment_weights=segment_weights,
            )
        except UserError as error:
            return Refused(str(error))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return TooLarge()
        return Made(rows, asdict(ensemble.counters))

    def give_up(self, question: Question, reason: str, methods: Collection[str]) -> Made:
        """The rows of a question that is not asked again."""
        ensemble = self._with(methods)
        rows = error_rows(question, reason, ensemble, self._recipe.choice)
        return Made(rows, asdict(ensemble.counters))

    def _with(self, methods: Collection[str]) -> Ensemble:
        assert self._ensemble is not None, "the model is not loaded"
        self._ensemble.methods = tuple(m for m in self._methods if m.name in methods)
        return self._ensemble

"""Where the answers of a run are made: in this process, or on workers that are given a recipe."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Protocol

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.jobs.filling import Work
from self_ensemble.jobs.inputs import LateModel, default_batch_size, prompt_frame
from self_ensemble.jobs.progress import Progress
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.running.answering import answer_batch
from self_ensemble.running.batches import run_batches
from self_ensemble.running.choice import Weights, WordingChoice
from self_ensemble.running.finite_rows import FiniteRows
from self_ensemble.running.made_with import manifest_fields


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that an ensemble of a run is made from, small enough to be sent.

    Attributes:
        model: Which model.
        methods: What answers.
        settings: How answers are made.
        chat_template: "auto", "on" or "off".
        decode: "tree", "captured" or "compiled".
        choice: Which wordings are asked.
        question_set: Instruction, examples and framing; its questions are not looked at.
    """

    model: LateModel
    methods: tuple[Method, ...]
    settings: Settings
    chat_template: str
    decode: str
    choice: WordingChoice
    question_set: QuestionSet

    def ensemble(self, progress: Progress) -> Ensemble:
        """Load the model and put it together.

        Raises:
            UserError: The model cannot be loaded, or does not fit the rest.
        """
        loaded = self.model.load(progress)
        frame = prompt_frame(self.chat_template, loaded, self.question_set)
        return Ensemble(
            loaded, self.methods, settings=self.settings, frame=frame, decode=self.decode
        )


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of a recipe, once the files are open.

    Attributes:
        files: An open, unfinished file for each method that is still to be run.
        weights: Weights of the weighted methods by uuid.
        segment_weights: Weights inside attention by uuid.
        batch_size: Questions at once; None lets it shrink to what fits.
    """

    files: Mapping[str, FiniteRows]
    weights: Weights | None
    segment_weights: Weights | None
    batch_size: int | None


class Answering(Protocol):
    """A place where answers are made."""

    @property
    def made_with(self) -> Mapping[str, object]:
        """What manifests say of the model and the prompt."""

    @property
    def backend(self) -> str:
        """The attention backend."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through the model, by name."""

    def work(self, task: Task) -> Work:
        """What answers questions and puts the rows on disk."""


@dataclass(frozen=True, slots=True)
class Here:
    """Answers made in this process, by one model."""

    recipe: Recipe
    ensemble: Ensemble

    @property
    def made_with(self) -> Mapping[str, object]:
        """What manifests say of the model and the prompt."""
        return manifest_fields(self.ensemble, self.recipe.question_set, {})

    @property
    def backend(self) -> str:
        """The attention backend."""
        return self.ensemble.engine.backend_name

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through the model, by name."""
        return asdict(self.ensemble.counters)

    def work(self, task: Task) -> Work:
        """Batch after batch."""
        ensemble = self.ensemble
        ensemble.methods = tuple(m for m in ensemble.methods if m.name in task.files)
        return partial(
            run_batches,
            run_batch=partial(
                answer_batch,
                ensemble=ensemble,
                choice=self.recipe.choice,
                files=task.files,
                weights=task.weights,
                segment_weights=task.segment_weights,
            ),
            batch_size=task.batch_size or default_batch_size(ensemble.model),
            may_shrink=task.batch_size is None,
        )


@contextmanager
def answering_here(recipe: Recipe, progress: Progress) -> Iterator[Here]:
    """Load the model into this process.

    Raises:
        UserError: As `Recipe.ensemble`.
    """
    yield Here(recipe, recipe.ensemble(progress))

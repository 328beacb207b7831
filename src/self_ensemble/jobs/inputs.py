"""The model that a job is given, by name or as an object, and its prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import unknown_name
from self_ensemble.jobs.progress import Progress
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.models.load import (
    LoadedModel,
    ModelWithoutWeights,
    load_model,
    load_without_weights,
)
from self_ensemble.models.sanity import check_prompt
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.weighting.targets import Target, chat_target, plain_target

CHAT_TEMPLATE = ("auto", "on", "off")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model and where it runs; the fields are arguments of `load_model`."""

    model: str = DEFAULT_MODEL
    attention: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    aliases: Path | None = None
    engine: str = "torch"

    def load(self, progress: Progress) -> LoadedModel:
        """Load the model.

        Raises:
            UserError: As `load_model`.
        """
        with progress.loading(self.model) as on_bytes:
            model = load_model(
                self.model,
                device=self.device,
                dtype=self.dtype,
                attention=self.attention,
                engine=self.engine,
                trust_remote_code=self.trust_remote_code,
                aliases=self.aliases,
                on_bytes=on_bytes,
            )
        progress.loaded(model)
        return model

    def load_without_weights(self) -> ModelWithoutWeights:
        """Load what prompts need; device, type and attention have no part in it.

        Raises:
            UserError: As `load_without_weights`.
        """
        return load_without_weights(
            self.model, trust_remote_code=self.trust_remote_code, aliases=self.aliases
        )


Model = str | Path | ModelOptions | LoadedModel


@dataclass(frozen=True, slots=True)
class LateModel:
    """The model of a job: named at once, loaded once everything else has been checked.

    Attributes:
        given: What the user gave.
        name: What it is called in the names of folders.
    """

    given: ModelOptions | LoadedModel
    name: str

    @property
    def trust_remote_code(self) -> bool:
        """Whether code that comes with the model may run; a model that is loaded has run it."""
        return isinstance(self.given, ModelOptions) and self.given.trust_remote_code

    @property
    def engine(self) -> str:
        """What makes its passes, by name."""
        return self.given.engine

    @classmethod
    def of(cls, model: Model) -> "LateModel":
        """A model, whatever it is given as."""
        if isinstance(model, LoadedModel):
            return cls(model, model.name)
        options = model if isinstance(model, ModelOptions) else ModelOptions(str(model))
        return cls(options, options.model)

    def load(self, progress: Progress) -> LoadedModel:
        """The model, ready to be asked.

        Raises:
            UserError: It cannot be loaded.
        """
        return self.given if isinstance(self.given, LoadedModel) else self.given.load(progress)


def prompt_frame(
    chat_template: str, model: LoadedModel | ModelWithoutWeights, question_set: QuestionSet
) -> PromptFrame:
    """The prompt of a data set, plain or in the model's chat template."""
    if uses_chat_template(chat_template, model):
        return chat_frame(model.tokenizer, question_set.instruction, question_set.shots)
    return plain_frame(
        model.tokenizer, question_set.instruction, question_set.shots, question_set.framing
    )


def uses_chat_template(chat_template: str, model: LoadedModel | ModelWithoutWeights) -> bool:
    """Whether "auto", "on" or "off" means the chat template, of this model."""
    return chat_template == "on" or (chat_template == "auto" and model.has_chat_template)


def answer_target(chat_template: str, ensemble: Ensemble, question_set: QuestionSet) -> Target:
    """Token ids of an answer in the prompt of a data set; see `weighting.targets`.

    Raises:
        UserError: The model's chat template does not end an answer, or has tokens that the model
            has not.
    """
    tokenizer, stop = ensemble.model.tokenizer, ensemble.stop
    if uses_chat_template(chat_template, ensemble.model):
        target = chat_target(tokenizer, stop)
        # The end of an answer's turn may have tokens that the prompt has not.
        check_prompt(target("Paris"), tokenizer, ensemble.model.model)
        return target
    return plain_target(tokenizer, question_set.framing, stop)


def check_choice(kind: str, given: str, known: Sequence[str]) -> None:
    """Refuse a value that is not in the list, with the nearest one.

    Raises:
        UserError: It is not.
    """
    if given not in known:
        raise unknown_name(kind, given, known)

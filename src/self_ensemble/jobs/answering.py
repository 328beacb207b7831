"""How a job asks questions: what follows from the options, before the model is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from self_ensemble.asking.methods import AnyMethod, Method, as_sequence, resolve_methods
from self_ensemble.asking.request import Settings
from self_ensemble.attribution import kinds
from self_ensemble.captured import decode
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.identity.values import code_identity
from self_ensemble.jobs.generate_options import GenerateOptions
from self_ensemble.jobs.inputs import LateModel, Model, answer_target, prompt_frame
from self_ensemble.jobs.progress import Progress
from self_ensemble.questions.chosen import Data, Questions
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.running.answers import AnswerMaker
from self_ensemble.running.attributed import Attributed
from self_ensemble.running.choice import Weights, WordingChoice, fewest_wordings_message
from self_ensemble.running.logprobs import LogprobMaker
from self_ensemble.walking.sampling import Sampling
from self_ensemble.walking.user_rule import own_function
from self_ensemble.weighting.sources import require_fitting, weights_from


@dataclass(frozen=True, slots=True)
class AnswerRecipe:
    """What answers are made with; of the question set the questions are left out."""

    model: LateModel
    methods: tuple[Method, ...]
    settings: Settings
    chat_template: str
    decode: str
    choice: WordingChoice
    question_set: QuestionSet
    attributed: Attributed
    save_logprobs: int | None

    @property
    def loads(self) -> str:
        return self.model.name

    def maker(self, progress: Progress) -> AnswerMaker:
        loaded = self.model.load(progress)
        frame = prompt_frame(self.chat_template, loaded, self.question_set)
        ensemble = Ensemble(
            loaded, self.methods, settings=self.settings, frame=frame, decode=self.decode
        )
        logprobs = None
        if self.save_logprobs is not None:
            target = answer_target(self.chat_template, ensemble, self.question_set)
            logprobs = LogprobMaker(ensemble, self.choice, self.save_logprobs, target)
        return AnswerMaker(ensemble, self.choice, self.question_set, self.attributed, logprobs)

    def rules(self) -> dict[str, object]:
        return {
            method.name: code_identity(own_function(method.rule))
            for method in self.methods
            if method.rule is not None and ":" in method.name
        }


@dataclass(frozen=True, slots=True)
class Answering:
    """Questions, a model, and how they are asked.

    Attributes:
        data: The questions.
        model: Which model answers.
        output_dir: Folder of all results, where weights may come from.
        methods: The methods.
        options: Everything else.
    """

    data: Data
    model: LateModel
    output_dir: Path
    methods: tuple[Method, ...]
    options: GenerateOptions

    @classmethod
    def of(
        cls,
        questions: Questions,
        model: Model,
        methods: AnyMethod | Sequence[AnyMethod],
        output_dir: Path | str,
        options: GenerateOptions,
    ) -> "Answering":
        """Load the questions, and refuse options that cannot be or would change nothing.

        Raises:
            UserError: Something given cannot be used.
        """
        options.check()
        data, late = Data.of(questions), LateModel.of(model)
        found = cls(data, late, Path(output_dir), _methods(methods, options), options)
        options.refuse_ignored(found.methods)
        kinds.check_engine_of(options.attribution, late.engine)
        decode.check_engine_of(options.decode, late.engine)
        return found

    @property
    def question_set(self) -> QuestionSet:
        return self.data.question_set

    def choice(self) -> WordingChoice:
        """Which wordings are asked."""
        options, of_methods = self.options, {method.kind for method in self.methods}
        if options.indices is not None and "original" in of_methods:
            raise UserError(
                "Method 'origin' asks the original wording and takes no --indices. "
                "Run it without --indices.",
                "SE-0012",
            )
        if of_methods == {"original"}:
            return WordingChoice(1)
        choice = WordingChoice(
            options.num_paraphrases, options.indices, options.manual_read_each_other
        )
        problem = fewest_wordings_message(self.question_set, choice)
        if problem is not None:
            raise UserError(problem, "SE-0201")
        return choice

    def weights(self, choice: WordingChoice) -> tuple[Weights | None, Weights | None]:
        """Weights of the weighted methods, and weights inside attention."""
        options = self.options
        weights, inside = (
            None
            if source is None
            else weights_from(
                source,
                self.question_set,
                choice.chosen(),
                output_dir=self.output_dir,
                model=self.model.name,
            )
            for source in (options.weights, options.own_segment_weights)
        )
        return weights, inside

    @property
    def sources(self) -> frozenset[str]:
        """Where weights come from, those of methods and those inside attention."""
        return frozenset(
            source
            for source in (self.options.weights, self.options.own_segment_weights)
            if source is not None
        )

    def require_fitting(self, made_with: Mapping[str, object]) -> None:
        """Refuse weights that were made with something else than this is.

        Raises:
            UserError: They were.
        """
        for source in self.sources:
            require_fitting(
                source, self.question_set, made_with,
                output_dir=self.output_dir, model=self.model.name,
            )  # fmt: skip

    def recipe(self, choice: WordingChoice) -> AnswerRecipe:
        return AnswerRecipe(
            self.model,
            self.methods,
            self.settings(),
            self.options.chat_template,
            self.options.decode,
            choice,
            replace(self.question_set, questions=()),
            Attributed(self.options.attribution, self.options.seed),
            self.options.save_logprobs,
        )

    def settings(self) -> Settings:
        """How answers are made; what the user leaves open is the data set's."""
        options = self.options
        return Settings(
            max_new_tokens=options.max_new_tokens or self.question_set.max_new_tokens,
            stop=self.question_set.stop if options.stop is None else options.stop,
            positions=cast(Any, options.positions),
            fusion_point=cast(Any, options.fusion_point),
            segment_weights=cast(
                Any, "given" if options.own_segment_weights else options.segment_weights
            ),
            sampling=Sampling(options.temperature, options.top_p, options.seed),
        )


def _methods(
    asked: AnyMethod | Sequence[AnyMethod], options: GenerateOptions
) -> tuple[Method, ...]:
    methods = resolve_methods(
        asked,
        has_weights=options.weights is not None,
        contrast_strength=options.contrast_strength,
    )
    if options.indices is not None and "all" in as_sequence(asked):
        return tuple(method for method in methods if method.kind != "original")
    return methods

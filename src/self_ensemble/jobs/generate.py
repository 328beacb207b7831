"""Answer a data set with one or several methods: what `self-ensemble generate` does."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from self_ensemble.asking.methods import AnyMethod, Method, as_sequence, resolve_methods
from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.identity.values import code_identity
from self_ensemble.jobs.generate_options import FUSED_ONLY, STANDARD, GenerateOptions
from self_ensemble.jobs.inputs import Data, LateModel, Model, Questions, prompt_frame
from self_ensemble.jobs.places import fill_from, place_of
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.jobs.results import Results
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.disk import check_writable
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.paths import result_folder, result_path
from self_ensemble.results.store import ResultFile
from self_ensemble.running.answers import AnswerMaker
from self_ensemble.running.choice import Weights, WordingChoice, fewest_wordings_message
from self_ensemble.running.made_with import MAY_DIFFER, of_questions, sha256_of
from self_ensemble.running.making import Order
from self_ensemble.running.rows import row_plan
from self_ensemble.walking.choose import Sampling
from self_ensemble.walking.user_rule import own_function
from self_ensemble.weighting.sources import file_suffix, require_fitting, weights_from

# What the manifest records by what came of it, or not at all: it changes no answer.
NOT_IN_MANIFEST = {
    "weights", "contrast_strength", "max_new_tokens", "stop", "decode", "overwrite", "repair",
}  # fmt: skip


def generate(
    questions: Questions,
    *,
    model: Model = DEFAULT_MODEL,
    methods: AnyMethod | Sequence[AnyMethod] = "flex_attention",
    output_dir: Path | str = "results",
    options: GenerateOptions = STANDARD,
    workers: Workers | None = None,
    progress: Progress = SILENT,
) -> Results:
    """Answer every question of a data set with one or several methods, from one prefill each.

    Rows are on disk batch by batch: a run that was stopped or killed goes on when it is called
    again, and one that is finished is only read.

    Args:
        questions: A data set's name ("webqa", "myriadlama", "demo"), the path of a file, rows
            such as `{"question": ..., "paraphrases": [...], "answers": [...]}`, or more exactly
            `DataOptions` or a `QuestionSet`.
        model: Alias, hub id, folder, .gguf file, `ModelOptions`, or a model that is loaded.
        methods: One or several: "flex_attention", "avg", "max", "vote", "origin", ..., "all",
            "module:rule", or a fusion rule itself, `(B, N, V), (B, N) -> (B, V)`.
        output_dir: Folder of all results.
        options: Everything else.
        workers: Ray workers, with a model each; None answers in this process.
        progress: Who is told how it goes.

    Returns:
        The result files and what was done.

    Raises:
        UserError: Something given cannot be used; what was done before is kept.
        Stopped: By Ctrl-C or SIGTERM, after a whole batch.

    Example:
        >>> import self_ensemble as se
        >>> rows = [{
        ...     "question": "What is the capital of France?",
        ...     "paraphrases": ["France's capital is which city?"],
        ...     "answers": ["Paris"],
        ... }]
        >>> results = se.generate(
        ...     rows, methods=["flex_attention", "avg"], output_dir=folder,
        ...     options=se.GenerateOptions(num_paraphrases=2, max_new_tokens=5),
        ... )
        >>> [row["prediction"] for row in results.rows("avg")]
        ['The answer is Paris.']
    """
    options.check()
    if workers is not None:
        workers.check()
    data, late = Data.of(questions), LateModel.of(model)
    output_dir = Path(output_dir)
    job = _Job(data, late, output_dir, _methods(methods, options), options)
    options.refuse_ignored(job.methods)
    choice, weights, segment_weights = job.choice(), None, None
    if options.weights is not None:
        weights = job.weights(options.weights, choice)
    if options.own_segment_weights is not None:
        segment_weights = job.weights(options.own_segment_weights, choice)
    question_set = data.question_set
    folder = result_folder(output_dir, question_set.name, late.name)
    check_writable(folder.parent)
    recipe = job.recipe(choice)
    with ExitStack() as closing:
        num_questions = len(question_set.questions)
        place = closing.enter_context(place_of(recipe, workers, num_questions, progress))
        made_with = of_questions(question_set.questions, place.about.made_with)
        for source in {options.weights, options.own_segment_weights} - {None}:
            require_fitting(
                str(source), question_set, made_with, output_dir=output_dir, model=late.name
            )
        files = {
            method.name: closing.enter_context(
                job.open(made_with, method, choice, weights, segment_weights)
            )
            for method in job.methods
        }
        return fill_from(
            place,
            files,
            question_set,
            Order(tuple(files), weights, segment_weights),
            batch_size=options.batch_size,
            progress=progress,
            doing="answering",
        )


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What answers are made with; of the question set the questions are left out."""

    model: LateModel
    methods: tuple[Method, ...]
    settings: Settings
    chat_template: str
    decode: str
    choice: WordingChoice
    question_set: QuestionSet

    @property
    def loads(self) -> str:
        return self.model.name

    def maker(self, progress: Progress) -> AnswerMaker:
        loaded = self.model.load(progress)
        frame = prompt_frame(self.chat_template, loaded, self.question_set)
        ensemble = Ensemble(
            loaded, self.methods, settings=self.settings, frame=frame, decode=self.decode
        )
        return AnswerMaker(ensemble, self.choice, self.question_set)

    def rules(self) -> dict[str, object]:
        return {
            method.name: code_identity(own_function(method.rule))
            for method in self.methods
            if method.rule is not None and ":" in method.name
        }


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


@dataclass(frozen=True, slots=True)
class _Job:
    """What follows from the options, before the model is there."""

    data: Data
    model: LateModel
    output_dir: Path
    methods: tuple[Method, ...]
    options: GenerateOptions

    @property
    def question_set(self) -> QuestionSet:
        return self.data.question_set

    def choice(self) -> WordingChoice:
        """Which wordings are asked."""
        options, kinds = self.options, {method.kind for method in self.methods}
        if options.indices is not None and "original" in kinds:
            raise UserError(
                "Method 'origin' asks the original wording and takes no --indices. "
                "Run it without --indices."
            )
        if kinds == {"original"}:
            return WordingChoice(1)
        choice = WordingChoice(
            options.num_paraphrases, options.indices, options.manual_read_each_other
        )
        problem = fewest_wordings_message(self.question_set, choice)
        if problem is not None:
            raise UserError(problem)
        return choice

    def weights(self, source: str, choice: WordingChoice) -> Weights:
        return weights_from(
            source,
            self.question_set,
            choice.chosen(),
            output_dir=self.output_dir,
            model=self.model.name,
        )

    def recipe(self, choice: WordingChoice) -> _Recipe:
        return _Recipe(
            self.model,
            self.methods,
            self.settings(),
            self.options.chat_template,
            self.options.decode,
            choice,
            replace(self.question_set, questions=()),
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

    def open(
        self,
        made_with: Mapping[str, object],
        method: Method,
        choice: WordingChoice,
        weights: Weights | None,
        segment_weights: Weights | None,
    ) -> ResultFile:
        """The file of a method: new, gone on with, or finished."""
        options = self.options
        path = result_path(
            self.output_dir, self.question_set.name, self.model.name, method.name,
            options.num_paraphrases, options.indices, file_suffix(options.weights_of(method)),
        )  # fmt: skip
        fields = {**made_with, **self.manifest_fields(method, weights, segment_weights)}
        # Through JSON, so that what is compared on resume is what was written.
        manifest = Manifest(json.loads(json.dumps(fields, default=str)))
        return ResultFile.open(
            path, manifest, row_plan(method, self.question_set, choice),
            may_differ=MAY_DIFFER, overwrite=options.overwrite, repair=options.repair,
        )  # fmt: skip

    def manifest_fields(
        self, method: Method, weights: Weights | None, segment_weights: Weights | None
    ) -> dict[str, object]:
        """The options that the answers of a method depend on."""
        options, settings = self.options, self.settings()
        given = {one.name: getattr(options, one.name) for one in fields(options)}
        found: dict[str, object] = {
            "method": method.name,
            **{name: value for name, value in given.items() if name not in NOT_IN_MANIFEST},
            **self.data.options.manifest_fields(),
            "trust_remote_code": self.model.trust_remote_code,
            "max_new_tokens": settings.max_new_tokens,
            "stop": settings.stop,
            "weights_sha256": sha256_of(weights) if method.may_read_weights else None,
            "contrast_strength": options.contrast_strength if method.reads_prior else None,
            "decode": None if options.decode == "tree" else options.decode,
        }
        if method.kind == "fused":
            found["segment_weights_sha256"] = sha256_of(segment_weights)
        else:
            found |= dict.fromkeys(FUSED_ONLY)
        if method.kind == "original":
            # It asks the same wording whatever the others ask.
            found |= dict.fromkeys(("num_paraphrases", "indices"))
        if method.rule is not None and ":" in method.name:
            found["rule"] = code_identity(own_function(method.rule))
        return found

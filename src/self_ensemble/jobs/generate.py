"""Answer a data set with one or several methods: what `self-ensemble generate` does."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

from self_ensemble.asking.methods import AnyMethod, Method, resolve_method
from self_ensemble.identity.checksum import sha256_of
from self_ensemble.identity.values import code_identity
from self_ensemble.jobs.answering import Answering
from self_ensemble.jobs.generate_options import FUSED_ONLY, STANDARD, GenerateOptions
from self_ensemble.jobs.inputs import Model
from self_ensemble.jobs.places import fill_from, place_of
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.jobs.results import Results
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.questions.chosen import Questions
from self_ensemble.results.disk import check_writable
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.paths import LOGPROBS, logprobs_path, result_folder, result_path
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.store import ResultFile
from self_ensemble.running.choice import Weights, WordingChoice
from self_ensemble.running.logprobs import logprob_plan
from self_ensemble.running.made_with import MAY_DIFFER, of_questions
from self_ensemble.running.making import Order
from self_ensemble.running.rows import row_plan
from self_ensemble.walking.user_rule import own_function
from self_ensemble.weighting.sources import file_suffix

# What the manifest records by what came of it, or not at all: it changes no answer.
NOT_IN_MANIFEST = {
    "weights", "contrast_strength", "max_new_tokens", "stop", "decode", "attribution",
    "save_logprobs", "overwrite", "repair",
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
    if workers is not None:
        workers.check()
    job = Answering.of(questions, model, methods, output_dir, options)
    for line in options.not_attributed(job.methods):
        progress.say(line)
    choice, question_set = job.choice(), job.question_set
    weights, segment_weights = job.weights(choice)
    folder = result_folder(job.output_dir, question_set.name, job.model.name)
    check_writable(folder.parent)
    recipe = job.recipe(choice)
    with ExitStack() as closing:
        num_questions = len(question_set.questions)
        place = closing.enter_context(place_of(recipe, workers, num_questions, progress))
        made_with = of_questions(question_set.questions, place.about.made_with)
        job.require_fitting(made_with)
        files = {
            method.name: closing.enter_context(
                _open(job, made_with, method, choice, weights, segment_weights)
            )
            for method in job.methods
        }
        if options.save_logprobs is not None:
            files[LOGPROBS] = closing.enter_context(_open_logprobs(job, made_with, choice))
        return fill_from(
            place,
            files,
            question_set,
            Order(tuple(files), weights, segment_weights),
            batch_size=options.batch_size,
            progress=progress,
            doing="answering",
        )


def _open(
    job: Answering,
    made_with: Mapping[str, object],
    method: Method,
    choice: WordingChoice,
    weights: Weights | None,
    segment_weights: Weights | None,
) -> ResultFile:
    """The file of a method: new, gone on with, or finished."""
    options = job.options
    path = result_path(
        job.output_dir, job.question_set.name, job.model.name, method.name,
        options.num_paraphrases, options.indices, file_suffix(options.weights_of(method)),
    )  # fmt: skip
    fields = {**made_with, **_manifest_fields(job, method, weights, segment_weights)}
    plan = row_plan(method, job.question_set, choice, options.attribution)
    return _opened(job, path, fields, plan)


def _open_logprobs(
    job: Answering, made_with: Mapping[str, object], choice: WordingChoice
) -> ResultFile:
    """The file of the wordings' own log-probabilities, which are made as per_prompt is."""
    path = logprobs_path(
        job.output_dir, job.question_set.name, job.model.name, len(choice.chosen()), choice.indices
    )
    alone = _manifest_fields(job, resolve_method("per_prompt"), None, None)
    fields = {**made_with, **alone, "method": None, "save_logprobs": job.options.save_logprobs}
    return _opened(job, path, fields, logprob_plan(job.question_set, choice))


def _opened(job: Answering, path: Path, fields: Mapping[str, object], plan: RowPlan) -> ResultFile:
    # Through JSON, so that what is compared on resume is what was written.
    manifest = Manifest(json.loads(json.dumps(fields, default=str)))
    return ResultFile.open(
        path, manifest, plan, may_differ=MAY_DIFFER,
        overwrite=job.options.overwrite, repair=job.options.repair,
    )  # fmt: skip


def _manifest_fields(
    job: Answering,
    method: Method,
    weights: Weights | None,
    segment_weights: Weights | None,
) -> dict[str, object]:
    """The options that the answers of a method depend on."""
    options, settings = job.options, job.settings()
    given = {one.name: getattr(options, one.name) for one in fields(options)}
    found: dict[str, object] = {
        "method": method.name,
        **{name: value for name, value in given.items() if name not in NOT_IN_MANIFEST},
        **job.data.options.manifest_fields(),
        "trust_remote_code": job.model.trust_remote_code,
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
    found |= options.attribution_fields(method)
    if method.kind == "original":
        # It asks the same wording whatever the others ask.
        found |= dict.fromkeys(("num_paraphrases", "indices"))
    if method.rule is not None and ":" in method.name:
        found["rule"] = code_identity(own_function(method.rule))
    return found

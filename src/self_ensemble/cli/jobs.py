"""What `generate` and `demo` do once their options are read."""

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from self_ensemble.asking import Settings
from self_ensemble.batches import Outcome
from self_ensemble.cli.filling import fill, leave_out_finished
from self_ensemble.cli.setup import (
    DataOptions,
    ModelOptions,
    count,
    default_batch_size,
    message_console,
    prompt_frame,
)
from self_ensemble.decoding.captured import check_decode
from self_ensemble.decoding.choose import Sampling
from self_ensemble.decoding.fusion import CONTRAST
from self_ensemble.decoding.user_rule import own_function
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.finite_rows import held_back
from self_ensemble.identity.values import code_identity
from self_ensemble.methods import Method, resolve_methods
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.disk import check_writable, read_table
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.paths import result_folder, result_path
from self_ensemble.results.store import ResultFile
from self_ensemble.run import (
    MAY_DIFFER,
    Weights,
    WordingChoice,
    answer_batch,
    fewest_wordings_message,
    manifest_fields,
    row_plan,
    sha256_of,
)
from self_ensemble.weighting.sources import file_suffix, require_fitting, weights_from


@dataclass(frozen=True, slots=True)
class Job:
    """The options of `generate`, under their long names."""

    data: DataOptions
    model: ModelOptions
    methods: tuple[str, ...]
    output_dir: Path = Path("results")
    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    manual_read_each_other: bool = False
    weights: str | None = None
    segment_weights: str = "uniform"
    contrast_strength: float = CONTRAST
    positions: str = "aligned"
    fusion_point: str = "cue"
    chat_template: str = "off"
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    decode: str = "tree"
    batch_size: int | None = None
    overwrite: bool = False
    repair: bool = False
    as_json: bool = False

    def options(self) -> dict[str, object]:
        """All options in one level, for the manifest."""
        return asdict(self) | asdict(self.data) | asdict(self.model)

    @property
    def own_segment_weights(self) -> str | None:
        """Source of the weights inside attention, where they are neither uniform nor none."""
        return None if self.segment_weights in ("uniform", "none") else self.segment_weights

    def weights_of(self, method: Method) -> str | None:
        """Source of the weights that a method reads."""
        if method.kind == "fused":
            return self.own_segment_weights
        return self.weights if method.may_read_weights else None


# Options that only the fused stream notices.
FUSED_ONLY = ("segment_weights", "positions", "fusion_point", "manual_read_each_other")
# How and where a run works, which the manifest records by what came of it or not at all.
NOT_IN_MANIFEST = {
    "dataset", "methods", "model", "output_dir", "data", "attention", "device", "dtype",
    "aliases", "overwrite", "repair", "as_json", "max_new_tokens", "stop", "weights", "offset",
    "contrast_strength", "columns", "encoding", "split", "answers_separator",
}  # fmt: skip


def run_job(job: Job) -> int:
    """Answer a data set; returns the exit code."""
    console = message_console(as_json=job.as_json)
    question_set = job.data.load()
    methods = resolve_methods(
        job.methods, has_weights=job.weights is not None, contrast_strength=job.contrast_strength
    )
    if job.indices is not None and "all" in job.methods:
        methods = tuple(method for method in methods if method.kind != "original")
    _refuse_ignored(job, methods)
    choice = _choice(job, methods, question_set)
    weights = _weights(job, job.weights, question_set, choice)
    segment_weights = _weights(job, job.own_segment_weights, question_set, choice)
    settings = _settings(job, question_set)
    check_decode(job.decode, settings.sampling)
    check_writable(result_folder(job.output_dir, question_set.name, job.model.model).parent)

    model = job.model.load(console)
    ensemble = Ensemble(
        model, methods, settings=settings,
        frame=prompt_frame(job.chat_template, model, question_set), decode=job.decode,
    )  # fmt: skip
    made_with = manifest_fields(ensemble, question_set, {})
    for source in {job.weights, job.own_segment_weights} - {None}:
        require_fitting(
            str(source), question_set, made_with, output_dir=job.output_dir, model=job.model.model
        )
    with ExitStack() as closing:
        files = {
            method.name: closing.enter_context(
                _open(
                    job,
                    made_with,
                    method,
                    question_set,
                    choice,
                    settings,
                    weights,
                    segment_weights,
                )
            )
            for method in methods
        }
        unfinished = leave_out_finished(files, console)
        ensemble.methods = tuple(m for m in ensemble.methods if m.name in unfinished)
        outcome = fill(
            unfinished.values(),
            question_set.questions,
            partial(
                answer_batch, ensemble=ensemble, choice=choice,
                files=held_back(unfinished, len(question_set.questions)),
                weights=weights, segment_weights=segment_weights,
            ),
            batch_size=job.batch_size or default_batch_size(model),
            may_shrink=job.batch_size is None,
            console=console,
            doing="answering",
        )  # fmt: skip
        paths = {name: file.path for name, file in files.items()}
    if outcome.signal_exit_code:
        return outcome.signal_exit_code
    num_errors = _num_errors(paths)
    _report(job, console, ensemble, outcome, paths, num_errors)
    return 3 if num_errors else 0


def _refuse_ignored(job: Job, methods: tuple[Method, ...]) -> None:
    """An option that would change nothing is refused: it would seem to have been measured."""
    standard = Job(job.data, job.model, job.methods)
    if not any(method.kind == "fused" for method in methods):
        for name in FUSED_ONLY:
            if getattr(job, name) != getattr(standard, name):
                option = "--" + name.replace("_", "-")
                raise UserError(
                    f"{option} is for flex_attention, which is not among the methods. "
                    "Leave it out, or add the method."
                )
    if job.weights is not None and not any(method.may_read_weights for method in methods):
        raise UserError(
            "--weights is for weighted methods, and none is among the methods. Leave it out, or "
            "add weighted_avg or weighted_max; inside attention it is --segment-weights."
        )
    if job.contrast_strength != standard.contrast_strength and not any(
        method.reads_prior for method in methods
    ):
        raise UserError(
            "--contrast-strength is for contrast, which is not among the methods. Leave it out, "
            "or add the method."
        )
    if job.top_p != 1.0 and job.temperature == 0.0:
        raise UserError("--top-p needs sampling. Give --temperature above 0 as well.")


def _choice(job: Job, methods: tuple[Method, ...], question_set: QuestionSet) -> WordingChoice:
    if job.indices is not None and any(method.kind == "original" for method in methods):
        raise UserError(
            "Method 'origin' asks the original wording and takes no --indices. "
            "Run it without --indices."
        )
    if all(method.kind == "original" for method in methods):
        return WordingChoice(1)
    choice = WordingChoice(job.num_paraphrases, job.indices, job.manual_read_each_other)
    problem = fewest_wordings_message(question_set, choice)
    if problem is not None:
        raise UserError(problem)
    return choice


def _weights(
    job: Job, source: str | None, question_set: QuestionSet, choice: WordingChoice
) -> Weights | None:
    if source is None:
        return None
    return weights_from(
        source, question_set, choice.chosen(), output_dir=job.output_dir, model=job.model.model
    )


def _settings(job: Job, question_set: QuestionSet) -> Settings:
    return Settings(
        max_new_tokens=job.max_new_tokens or question_set.max_new_tokens,
        stop=question_set.stop if job.stop is None else job.stop,
        positions=cast(Any, job.positions),
        fusion_point=cast(Any, job.fusion_point),
        segment_weights=cast(Any, "given" if job.own_segment_weights else job.segment_weights),
        sampling=Sampling(job.temperature, job.top_p, job.data.seed),
    )


def _open(
    job: Job,
    made_with: dict[str, object],
    method: Method,
    question_set: QuestionSet,
    choice: WordingChoice,
    settings: Settings,
    weights: Weights | None,
    segment_weights: Weights | None,
) -> ResultFile:
    options = {
        "method": method.name,
        **{name: value for name, value in job.options().items() if name not in NOT_IN_MANIFEST},
        "max_new_tokens": settings.max_new_tokens,
        "stop": settings.stop,
        "weights_sha256": sha256_of(weights) if method.may_read_weights else None,
        "contrast_strength": job.contrast_strength if method.reads_prior else None,
        "decode": None if job.decode == "tree" else job.decode,
    }
    if method.kind == "fused":
        options["segment_weights_sha256"] = sha256_of(segment_weights)
    else:
        options |= dict.fromkeys(FUSED_ONLY)
    if method.kind == "original":
        # It asks the same wording whatever the others ask.
        options |= dict.fromkeys(("num_paraphrases", "indices"))
    if method.rule is not None and ":" in method.name:
        options["rule"] = code_identity(own_function(method.rule))
    fields = made_with | options
    path = result_path(
        job.output_dir, question_set.name, job.model.model, method.name, job.num_paraphrases,
        job.indices, file_suffix(job.weights_of(method)),
    )  # fmt: skip
    # Through JSON, so that what is compared on resume is what was written.
    manifest = Manifest(json.loads(json.dumps(fields, default=str)))
    return ResultFile.open(
        path, manifest, row_plan(method, question_set, choice),
        may_differ=MAY_DIFFER, overwrite=job.overwrite, repair=job.repair,
    )  # fmt: skip


def _num_errors(paths: dict[str, Path]) -> int:
    failed = {
        row["uuid"]
        for path in paths.values()
        for row in read_table(path).select(["uuid", "error"]).to_pylist()
        if row["error"] is not None
    }
    return len(failed)


def _report(
    job: Job,
    console: Console,
    ensemble: Ensemble,
    outcome: Outcome,
    paths: dict[str, Path],
    num_errors: int,
) -> None:
    per_question = outcome.seconds / outcome.num_questions if outcome.num_questions else None
    if job.as_json:
        summary = {
            "files": {name: str(path) for name, path in paths.items()},
            "answered": outcome.num_questions,
            "errors": num_errors,
            "seconds_per_question": per_question,
            "backend": ensemble.engine.backend_name,
            "counters": asdict(ensemble.counters),
        }
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    console.print(f"Results: {', '.join(path.name for path in paths.values())}")
    console.print(f"  in {next(iter(paths.values())).parent}")
    if per_question is not None:
        console.print(
            f"{count(outcome.num_questions, 'question')}, {count(len(paths), 'method')}, "
            f"{per_question:.2f} s per question for all of them, "
            f"attention backend {ensemble.engine.backend_name}."
        )
    if num_errors:
        failed = count(num_errors, "question")
        console.print(f"{failed} could not be asked or answered; see the column 'error'.")

"""What `generate` and `demo` do once their options are read."""

import inspect
import json
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from self_ensemble.asking import Settings
from self_ensemble.decoding.choose import Sampling
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.methods import Method, resolve_methods
from self_ensemble.models.devices import device_table, layer_devices
from self_ensemble.models.load import LoadedModel, load_model
from self_ensemble.prompts.build import PromptFrame, chat_frame, plain_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.questions.weights import load_weights
from self_ensemble.results.disk import check_writable, read_table
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.paths import result_path
from self_ensemble.results.store import ResultFile
from self_ensemble.run import (
    MAY_DIFFER,
    Outcome,
    Weights,
    WordingChoice,
    fewest_wordings_message,
    manifest_fields,
    result_schema,
    run_questions,
    sha256_of,
)
from self_ensemble.run import Progress as BatchProgress


@dataclass(frozen=True, slots=True)
class Job:
    """The options of `generate`, under their long names."""

    dataset: str
    methods: tuple[str, ...]
    model: str = "smollm2_135m_it"
    output_dir: Path = Path("results")
    data: Path | None = None
    paraphrases: Path | None = None
    max_samples: int | None = None
    num_shots: int = 5
    num_manual: int | None = None
    num_auto: int = 0
    attention: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    aliases: Path | None = None
    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    manual_read_each_other: bool = False
    weights: str | None = None
    segment_weights: str = "uniform"
    positions: str = "aligned"
    fusion_point: str = "cue"
    chat_template: str = "off"
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    batch_size: int | None = None
    overwrite: bool = False
    as_json: bool = False


# Options that only the fused stream notices.
FUSED_ONLY = ("segment_weights", "positions", "fusion_point", "manual_read_each_other")
# How and where a run works, which the manifest records by what came of it or not at all.
NOT_IN_MANIFEST = {
    "dataset", "methods", "model", "output_dir", "data", "attention", "device", "dtype",
    "aliases", "overwrite", "as_json", "max_new_tokens", "stop", "weights",
}  # fmt: skip


def run_job(job: Job) -> int:
    """Answer a data set; returns the exit code."""
    console = Console(stderr=True, quiet=job.as_json, highlight=False, soft_wrap=True)
    question_set = load_questions(
        job.dataset,
        data_dir=job.data,
        max_samples=job.max_samples,
        num_shots=job.num_shots,
        seed=job.seed,
        num_manual=job.num_manual,
        num_auto=job.num_auto,
        paraphrases=job.paraphrases,
    )
    methods = resolve_methods(job.methods, has_weights=job.weights is not None)
    if job.indices is not None and "all" in job.methods:
        methods = tuple(method for method in methods if method.kind != "original")
    _refuse_ignored(job, methods)
    choice = _choice(job, methods, question_set)
    weights = _weights(job.weights, question_set, choice)
    own_segments = job.segment_weights not in ("uniform", "none")
    segment_weights = _weights(job.segment_weights if own_segments else None, question_set, choice)
    settings = _settings(job, question_set)
    folder = job.output_dir / question_set.name
    check_writable(folder)

    with console.status(f"Loading {job.model} ..."):
        model = load_model(
            job.model,
            device=job.device,
            dtype=job.dtype,
            attention=job.attention,
            trust_remote_code=job.trust_remote_code,
            aliases=job.aliases,
        )
    devices = layer_devices(model.model)
    if len(devices) > 1:
        console.print(device_table(devices))
    ensemble = Ensemble(
        model, methods,
        frame=_frame(job, model, question_set), settings=settings,
    )  # fmt: skip
    with ExitStack() as closing:
        files = {
            method.name: closing.enter_context(
                _open(job, ensemble, method, question_set, settings, weights, segment_weights)
            )
            for method in methods
        }
        unfinished = {name: file for name, file in files.items() if not file.finished}
        finished = [name for name in files if name not in unfinished]
        if finished:
            console.print(f"Finished already: {', '.join(finished)}.")
        outcome = Outcome(0, 0.0, 0)
        if unfinished:
            ensemble.methods = tuple(m for m in ensemble.methods if m.name in unfinished)
            done = len(frozenset.intersection(*(file.done for file in unfinished.values())))
            total = len(question_set.questions)
            if done:
                console.print(f"Going on after {done} of {total} questions.")
            with _progress(console, total, done) as on_batch:
                outcome = run_questions(
                    ensemble, question_set, choice, unfinished,
                    weights=weights, segment_weights=segment_weights,
                    batch_size=job.batch_size or default_batch_size(model),
                    may_shrink=job.batch_size is None, on_batch=on_batch,
                )  # fmt: skip
        paths = {name: file.path for name, file in files.items()}
    if outcome.signal_exit_code:
        console.print("Stopped after a whole batch. Run the same command again to go on.")
        return outcome.signal_exit_code
    num_errors = _num_errors(paths)
    _report(job, console, ensemble, outcome, paths, num_errors)
    return 3 if num_errors else 0


def default_batch_size(model: LoadedModel) -> int:
    """Questions per batch where the user names none: 16 on a CPU, 64 on an accelerator."""
    return 16 if model.device.type == "cpu" else 64


def _refuse_ignored(job: Job, methods: tuple[Method, ...]) -> None:
    """An option that would change nothing is refused: it would seem to have been measured."""
    standard = Job(dataset=job.dataset, methods=job.methods)
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
    source: str | None, question_set: QuestionSet, choice: WordingChoice
) -> Weights | None:
    return None if source is None else load_weights(source, question_set, choice.chosen())


def _settings(job: Job, question_set: QuestionSet) -> Settings:
    own_segments = job.segment_weights not in ("uniform", "none")
    return Settings(
        max_new_tokens=job.max_new_tokens or question_set.max_new_tokens,
        stop=question_set.stop if job.stop is None else job.stop,
        positions=cast(Any, job.positions),
        fusion_point=cast(Any, job.fusion_point),
        segment_weights=cast(Any, "given" if own_segments else job.segment_weights),
        sampling=Sampling(job.temperature, job.top_p, job.seed),
    )


def _frame(job: Job, model: LoadedModel, question_set: QuestionSet) -> PromptFrame:
    chat = job.chat_template == "on" or (job.chat_template == "auto" and model.has_chat_template)
    if chat:
        return chat_frame(model.tokenizer, question_set.instruction, question_set.shots)
    return plain_frame(
        model.tokenizer, question_set.instruction, question_set.shots, question_set.framing
    )


def _open(
    job: Job,
    ensemble: Ensemble,
    method: Method,
    question_set: QuestionSet,
    settings: Settings,
    weights: Weights | None,
    segment_weights: Weights | None,
) -> ResultFile:
    options = {
        "method": method.name,
        **{name: value for name, value in asdict(job).items() if name not in NOT_IN_MANIFEST},
        "max_new_tokens": settings.max_new_tokens,
        "stop": settings.stop,
        "weights_sha256": sha256_of(weights) if method.needs_weights else None,
    }
    if method.kind == "fused":
        options["segment_weights_sha256"] = sha256_of(segment_weights)
    else:
        options |= dict.fromkeys(FUSED_ONLY)
    if method.kind == "original":
        # It asks the same wording whatever the others ask.
        options |= dict.fromkeys(("num_paraphrases", "indices"))
    if method.rule is not None and ":" in method.name:
        options["rule_sha256"] = sha256_of(inspect.getsource(method.rule))
    fields = manifest_fields(ensemble, question_set, options)
    path = result_path(
        job.output_dir, question_set.name, job.model, method.name, job.num_paraphrases, job.indices
    )
    # Through JSON, so that what is compared on resume is what was written.
    manifest = Manifest(json.loads(json.dumps(fields, default=str)))
    schema = result_schema(method.name)
    return ResultFile.open(
        path, manifest, schema=schema, may_differ=MAY_DIFFER, overwrite=job.overwrite
    )


@contextmanager
def _progress(console: Console, total: int, done: int) -> Any:
    bar = Progress(
        TextColumn("answering"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("answering", total=total, completed=done, rate="")
        started, answered = time.perf_counter(), 0

        def on_batch(batch: BatchProgress) -> None:
            nonlocal answered
            answered += batch.num_questions
            rate = answered / (time.perf_counter() - started)
            bar.update(task, advance=batch.num_questions, rate=f"{rate:.1f} questions/s")

        yield on_batch


def _num_errors(paths: dict[str, Path]) -> int:
    failed = {
        row["uuid"]
        for path in paths.values()
        for row in read_table(path).select(["uuid", "error"]).to_pylist()
        if row["error"] is not None
    }
    return len(failed)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
            f"{_count(outcome.num_questions, 'question')}, {_count(len(paths), 'method')}, "
            f"{per_question:.2f} s per question for all of them, "
            f"attention backend {ensemble.engine.backend_name}."
        )
    if num_errors:
        failed = _count(num_errors, "question")
        console.print(f"{failed} could not be asked; see the column 'error'.")

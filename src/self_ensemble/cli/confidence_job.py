"""What `confidence` does once its options are read."""

import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import fmean

from rich import box
from rich.table import Table

from self_ensemble.asking import Settings
from self_ensemble.batches import Outcome
from self_ensemble.cli.filling import fill, leave_out_finished
from self_ensemble.cli.setup import (
    DataOptions,
    ModelOptions,
    count,
    default_batch_size,
    message_console,
    page_console,
    prompt_frame,
)
from self_ensemble.confidence.estimators import ESTIMATORS
from self_ensemble.confidence.run import ConfidenceRun
from self_ensemble.confidence.self_report import TrueOrFalse
from self_ensemble.decoding.choose import Sampling
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.finite_rows import held_back
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.disk import check_writable, read_table
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.paths import confidence_path, result_folder
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.schema import CONFIDENCE_SCHEMA
from self_ensemble.results.store import ResultFile
from self_ensemble.run import (
    MAY_DIFFER,
    WordingChoice,
    fewest_wordings_message,
    manifest_fields,
)


@dataclass(frozen=True, slots=True)
class ConfidenceJob:
    """The options of `confidence`, under their long names."""

    data: DataOptions
    model: ModelOptions
    estimators: tuple[str, ...]
    num_samples: int
    temperature: float
    top_p: float
    num_paraphrases: int
    indices: tuple[int, ...] | None
    chat_template: str
    max_new_tokens: int | None
    stop: tuple[str, ...] | None
    batch_size: int | None
    output_dir: Path
    overwrite: bool
    repair: bool
    as_json: bool


def run_confidence_job(job: ConfidenceJob) -> int:
    """Estimate confidences over a data set; returns the exit code."""
    console = message_console(as_json=job.as_json)
    names = _estimators(job)
    sampling = Sampling(job.temperature, job.top_p, job.data.seed)
    question_set = job.data.load()
    choice = WordingChoice(job.num_paraphrases, job.indices)
    problem = fewest_wordings_message(question_set, choice)
    if problem is not None:
        raise UserError(problem)
    if "agreement" in names and len(choice.chosen()) < 2:
        raise UserError("The estimator agreement compares wordings. Ask two or more.")
    if "sampling" in names and sampling.temperature == 0.0:
        raise UserError("Got --temperature 0, at which all samples are equal. Give more than 0.")
    check_writable(result_folder(job.output_dir, question_set.name, job.model.model).parent)
    model = job.model.load(console)
    settings = Settings(
        max_new_tokens=job.max_new_tokens or question_set.max_new_tokens,
        stop=question_set.stop if job.stop is None else job.stop,
    )
    frame = prompt_frame(job.chat_template, model, question_set)
    ensemble = Ensemble(model, "per_prompt", frame=frame, settings=settings)
    made_with = manifest_fields(ensemble, question_set, {})
    with ExitStack() as closing:
        files = {
            name: closing.enter_context(
                _open(job, name, ensemble, question_set, choice, made_with)
            )
            for name in names
        }
        unfinished = leave_out_finished(files, console)
        run = ConfidenceRun(
            ensemble, choice, held_back(unfinished, len(question_set.questions)),
            job.num_samples, sampling,
            TrueOrFalse(model) if "p_true" in unfinished else None,
        )  # fmt: skip
        outcome = fill(
            unfinished.values(),
            question_set.questions,
            run.run_batch,
            batch_size=job.batch_size or default_batch_size(model),
            may_shrink=job.batch_size is None,
            console=console,
            doing="exploring",
        )
        paths = {name: file.path for name, file in files.items()}
    if outcome.signal_exit_code:
        return outcome.signal_exit_code
    return _report(job, outcome, paths, run.counters())


def _estimators(job: ConfidenceJob) -> tuple[str, ...]:
    names = tuple(
        dict.fromkeys(
            name
            for asked in job.estimators
            for name in (ESTIMATORS if asked == "all" else [asked])
        )
    )
    if not names:
        raise UserError(f"No estimator given. Choose from: {', '.join(ESTIMATORS)}, all.")
    return names


def _open(
    job: ConfidenceJob,
    estimator: str,
    ensemble: Ensemble,
    question_set: QuestionSet,
    choice: WordingChoice,
    made_with: dict[str, object],
) -> ResultFile:
    sampled = estimator == "sampling"
    options = {
        "estimator": estimator,
        "num_paraphrases": job.num_paraphrases,
        "indices": job.indices,
        "num_shots": job.data.num_shots,
        "num_manual": job.data.num_manual,
        "num_auto": job.data.num_auto,
        "chat_template": job.chat_template,
        "max_new_tokens": ensemble.settings.max_new_tokens,
        "stop": ensemble.settings.stop,
        "num_samples": job.num_samples if sampled else None,
        "temperature": job.temperature if sampled else None,
        "top_p": job.top_p if sampled else None,
        "seed": job.data.seed if sampled else None,
    }
    uuids = tuple(question.uuid for question in question_set.questions)
    return ResultFile.open(
        confidence_path(job.output_dir, question_set.name, job.model.model, estimator),
        Manifest(made_with | options),
        RowPlan(CONFIDENCE_SCHEMA, uuids, choice.chosen()),
        may_differ=MAY_DIFFER,
        overwrite=job.overwrite,
        repair=job.repair,
    )


def _report(
    job: ConfidenceJob, outcome: Outcome, paths: dict[str, Path], counters: dict[str, int]
) -> int:
    rows = {
        name: read_table(path).select(["uuid", "confidence"]).to_pylist()
        for name, path in paths.items()
    }
    failed = {row["uuid"] for found in rows.values() for row in found if isnan(row["confidence"])}
    per_question = outcome.seconds / outcome.num_questions if outcome.num_questions else None
    means = {
        name: fmean(values) if values else None
        for name, found in rows.items()
        for values in [[row["confidence"] for row in found if not isnan(row["confidence"])]]
    }
    if job.as_json:
        document = {
            "files": {name: str(path) for name, path in paths.items()},
            "mean_confidence": means,
            "errors": len(failed),
            "seconds_per_question": per_question,
            "counters": counters,
        }
        sys.stdout.write(json.dumps(document) + "\n")
        return 3 if failed else 0
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("estimator")
    table.add_column("wordings", justify="right")
    table.add_column("mean confidence", justify="right")
    table.add_column("file")
    for name, mean in means.items():
        shown = "-" if mean is None else f"{mean:.3f}"
        table.add_row(name, str(len(rows[name])), shown, paths[name].name)
    page = page_console()
    page.print(table)
    page.print(f"in {next(iter(paths.values())).parent}", soft_wrap=True, highlight=False)
    if per_question is not None:
        done = count(outcome.num_questions, "question")
        page.print(f"{done}, {per_question:.2f} s per question.", highlight=False)
    if failed:
        page.print(
            f"{count(len(failed), 'question')} could not be asked or answered; see column 'error'."
        )
    page.print("How far they can be trusted: self-ensemble analyze --calibration", highlight=False)
    return 3 if failed else 0

"""What `learn-weights` does once its options are read."""

import json
import math
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import cast

from rich.console import Console

from self_ensemble.asking import Settings
from self_ensemble.cli.setup import (
    DataOptions,
    ModelOptions,
    count,
    default_batch_size,
    message_console,
    page_console,
    progress_bar,
    prompt_frame,
)
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.report.learned_weights import likelihood_table, weights_table
from self_ensemble.results.disk import OUTPUT_DIR, check_writable
from self_ensemble.results.paths import learned_weights_path
from self_ensemble.run import WordingChoice, fewest_wordings_message, manifest_fields
from self_ensemble.weighting.candidates import TOP_K
from self_ensemble.weighting.crossval import (
    HeldOut,
    Learned,
    check_folds,
    cross_validate,
    learn,
)
from self_ensemble.weighting.devset import MAX_QUESTIONS, DevSet, ask_dev_set
from self_ensemble.weighting.groups import By, group_of
from self_ensemble.weighting.learned_file import LearnedWeights, model_folder, write_learned
from self_ensemble.weighting.targets import Target, chat_target, plain_target


@dataclass(frozen=True, slots=True)
class LearnJob:
    """The options of `learn-weights`, under their long names."""

    data: DataOptions
    model: ModelOptions
    by: str
    num_paraphrases: int
    indices: tuple[int, ...] | None
    folds: int
    chat_template: str
    batch_size: int | None
    output: Path | None
    output_dir: Path
    overwrite: bool
    repair: bool
    as_json: bool


def run_learn_job(job: LearnJob) -> int:
    """Learn weights and write them; returns the exit code."""
    console = message_console(as_json=job.as_json)
    choice = WordingChoice(job.num_paraphrases, job.indices)
    question_set = _dev_questions(job, choice)
    by = cast(By, job.by)
    path = _output_path(job, question_set)
    model = job.model.load(console)
    ensemble = Ensemble(
        model,
        "avg",
        frame=prompt_frame(job.chat_template, model, question_set),
        settings=Settings(max_new_tokens=question_set.max_new_tokens, stop=question_set.stop),
    )
    with progress_bar(console, "learning", len(question_set.questions), 0) as on_batch:
        dev_set = ask_dev_set(
            ensemble, question_set.questions, choice,
            _target(job, model, ensemble, question_set),
            batch_size=job.batch_size or default_batch_size(model),
            may_shrink=job.batch_size is None, on_batch=on_batch,
        )  # fmt: skip
    if dev_set.signal_exit_code:
        console.print("Stopped; nothing is written.")
        return dev_set.signal_exit_code
    groups = [group_of(question, by, choice.chosen()) for question in dev_set.questions]
    learned = learn(dev_set.candidates, groups)
    held_out = cross_validate(dev_set.candidates, groups, job.folds, job.data.seed)
    used = replace(question_set, questions=dev_set.questions)
    write_learned(
        path,
        LearnedWeights(
            by, learned.weights, choice.chosen(), question_set.name,
            model_folder(job.model.model), tuple(q.uuid for q in dev_set.questions),
        ),
        _provenance(job, ensemble, used, learned, held_out),
    )  # fmt: skip
    _report(job, console, path, choice, dev_set, learned, held_out)
    return 0


def _dev_questions(job: LearnJob, choice: WordingChoice) -> QuestionSet:
    if (job.data.max_samples or 0) > MAX_QUESTIONS:
        raise UserError(
            f"Got --max-samples {job.data.max_samples}. Weights are learned on at most "
            f"{MAX_QUESTIONS} questions; keep the others to evaluate them."
        )
    num_wordings = len(choice.chosen())
    if num_wordings < 2:
        raise UserError(
            f"Got {count(num_wordings, 'wording')}, which has all the weight. Give 2 or more."
        )
    question_set = job.data.load()
    problem = fewest_wordings_message(question_set, choice)
    if not question_set.questions:
        problem = f"No question of {question_set.name} is left. Use a smaller --offset."
    if problem is not None:
        raise UserError(problem)
    check_folds(job.folds, len(question_set.questions))
    for question in question_set.questions:
        if len(question.wordings) > max(choice.chosen()):
            group_of(question, cast(By, job.by), choice.chosen())
    return question_set


def _output_path(job: LearnJob, question_set: QuestionSet) -> Path:
    path = job.output or learned_weights_path(job.output_dir, question_set.name, job.model.model)
    if path.suffix.lower() != ".json":
        raise UserError(f"Got --output {path}. Give a file that ends in .json.")
    if path.exists() and not job.overwrite:
        raise UserError(f"{path} is there already. Use --overwrite, or another --output.")
    check_writable(path.parent, "--output" if job.output else OUTPUT_DIR)
    return path


def _target(
    job: LearnJob, model: LoadedModel, ensemble: Ensemble, question_set: QuestionSet
) -> Target:
    stop = ensemble.stop
    # As in `prompt_frame`.
    if job.chat_template == "on" or (job.chat_template == "auto" and model.has_chat_template):
        return chat_target(model.tokenizer, stop)
    return plain_target(model.tokenizer, question_set.framing, stop)


def _provenance(
    job: LearnJob,
    ensemble: Ensemble,
    used: QuestionSet,
    learned: Learned,
    held_out: HeldOut,
) -> dict[str, object]:
    fields = manifest_fields(
        ensemble,
        used,
        {
            "max_samples": job.data.max_samples,
            "offset": job.data.offset,
            "num_shots": job.data.num_shots,
            "num_manual": job.data.num_manual,
            "num_auto": job.data.num_auto,
            "seed": job.data.seed,
            "chat_template": job.chat_template,
            "top_k": TOP_K,
        },
    )
    versions = cast(dict[str, str], fields["versions"])
    return fields | {
        "versions": versions | {"scipy": version("scipy")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nll": learned.nll,
        "nll_uniform": learned.nll_uniform,
        "cross_validation": _cross_validation(held_out),
    }


def _cross_validation(held_out: HeldOut) -> dict[str, object]:
    numbers = {
        "nll_learned": held_out.learned,
        "nll_uniform": held_out.uniform,
        "difference": held_out.difference.value,
        "low": held_out.difference.low,
        "high": held_out.difference.high,
    }
    return {
        "folds": held_out.num_folds,
        "questions": held_out.difference.n,
        # JSON has no nan.
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
    }


def _report(
    job: LearnJob,
    console: Console,
    path: Path,
    choice: WordingChoice,
    dev_set: DevSet,
    learned: Learned,
    held_out: HeldOut,
) -> None:
    if job.as_json:
        summary = {
            "file": str(path),
            "by": job.by,
            "weights": learned.weights,
            "questions": len(dev_set.questions),
            "left_out": len(dev_set.left_out),
            "nll": learned.nll,
            "nll_uniform": learned.nll_uniform,
            "cross_validation": _cross_validation(held_out),
        }
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    page = page_console()
    page.print(weights_table(choice.chosen(), learned))
    page.print(likelihood_table(learned, held_out, len(dev_set.questions)))
    if not held_out.favours_learned:
        page.print(
            "On questions that they were not fitted on, learned weights are not clearly better "
            "than equal ones."
        )
    for uuid, reason in list(dev_set.left_out.items())[:1]:
        left_out = count(len(dev_set.left_out), "question")
        console.print(f"{left_out} could not be asked; the first is {uuid}: {reason}")
    console.print(f"Weights: {path}")

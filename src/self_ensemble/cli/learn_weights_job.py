"""What `learn-weights` does once its options are read."""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import cast

import typer
from rich.console import Console

from self_ensemble.asking import Settings
from self_ensemble.checksum import DamagedError
from self_ensemble.cli.learn_weights_report import cross_validation_fields, report_learned
from self_ensemble.cli.setup import (
    DataOptions,
    ModelOptions,
    count,
    default_batch_size,
    message_console,
    progress_bar,
    prompt_frame,
)
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.sanity import check_prompt
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.disk import OUTPUT_DIR, check_writable, naming_disk_errors, temp_path
from self_ensemble.results.lock import FileLock
from self_ensemble.results.manifest import Manifest, require_same
from self_ensemble.results.paths import learned_weights_path
from self_ensemble.results.shards import set_aside
from self_ensemble.run import (
    MAY_DIFFER,
    WordingChoice,
    fewest_wordings_message,
    manifest_fields,
)
from self_ensemble.weighting.candidates import TOP_K
from self_ensemble.weighting.crossval import (
    check_folds,
    cross_validate,
    learn,
)
from self_ensemble.weighting.devset import MAX_QUESTIONS, DevSet, ask_dev_set
from self_ensemble.weighting.groups import By, group_of
from self_ensemble.weighting.learned_file import (
    LearnedWeights,
    learned_fields,
    model_folder,
    read_document,
    write_learned,
)
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
    made_with = _made_with(job, ensemble, question_set, by, choice)
    option = _option(job)
    with naming_disk_errors(path, option):
        lock = FileLock.acquire(path.with_name(f".{path.stem}.lock"), option)
    with closing(lock):
        with naming_disk_errors(path, option):
            temp_path(path).unlink(missing_ok=True)
            document = None if job.overwrite else _finished(job, path, made_with, option)
        if document is None:
            dev_set = _ask(job, console, question_set, ensemble, choice)
            if dev_set.signal_exit_code:
                console.print("Stopped; nothing is written.")
                return dev_set.signal_exit_code
            document = {**_learn(job, question_set, dev_set, by, choice), **made_with.fields}
            with naming_disk_errors(path, option):
                write_learned(path, document)
        else:
            console.print("Finished already.")
    report_learned(document, path, console, as_json=job.as_json)
    return 0


def _ask(
    job: LearnJob,
    console: Console,
    question_set: QuestionSet,
    ensemble: Ensemble,
    choice: WordingChoice,
) -> DevSet:
    with progress_bar(console, "learning", len(question_set.questions), 0) as on_batch:
        return ask_dev_set(
            ensemble, question_set.questions, choice,
            _target(job, ensemble.model, ensemble, question_set),
            batch_size=job.batch_size or default_batch_size(ensemble.model),
            may_shrink=job.batch_size is None, on_batch=on_batch,
        )  # fmt: skip


def _finished(
    job: LearnJob, path: Path, made_with: Manifest, option: str
) -> dict[str, object] | None:
    """What an earlier run of the same command has written; None where there is nothing."""
    if not path.exists():
        return None
    remedy = f"Use --repair to set it aside and learn again, --overwrite, or another {option}."
    try:
        document = read_document(path, remedy)
    except DamagedError as damaged:
        if not job.repair:
            raise
        typer.echo(set_aside(path, damaged.fault), err=True)
        return None
    old = Manifest({name: document.get(name) for name in made_with.fields})
    require_same(old, made_with, MAY_DIFFER, path, option)
    return document


def _learn(
    job: LearnJob,
    question_set: QuestionSet,
    dev_set: DevSet,
    by: By,
    choice: WordingChoice,
) -> dict[str, object]:
    groups = [group_of(question, by, choice.chosen()) for question in dev_set.questions]
    learned = learn(dev_set.candidates, groups)
    held_out = cross_validate(dev_set.candidates, groups, job.folds, job.data.seed)
    fields = learned_fields(
        LearnedWeights(
            by, learned.weights, choice.chosen(), question_set.name,
            model_folder(job.model.model), tuple(q.uuid for q in dev_set.questions),
        )
    )  # fmt: skip
    return fields | {
        "left_out": dev_set.left_out,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nll": learned.nll,
        "nll_uniform": learned.nll_uniform,
        "cross_validation": cross_validation_fields(held_out),
    }


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
        if len(question.wordings) >= choice.needed:
            group_of(question, cast(By, job.by), choice.chosen())
    return question_set


def _output_path(job: LearnJob, question_set: QuestionSet) -> Path:
    path = job.output or learned_weights_path(job.output_dir, question_set.name, job.model.model)
    if path.suffix.lower() != ".json":
        raise UserError(f"Got --output {path}. Give a file that ends in .json.")
    check_writable(path.parent, _option(job))
    return path


def _option(job: LearnJob) -> str:
    """The option with which the user chose the place of the file."""
    return "--output" if job.output else OUTPUT_DIR


def _target(
    job: LearnJob, model: LoadedModel, ensemble: Ensemble, question_set: QuestionSet
) -> Target:
    stop = ensemble.stop
    # As in `prompt_frame`.
    if job.chat_template == "on" or (job.chat_template == "auto" and model.has_chat_template):
        target = chat_target(model.tokenizer, stop)
        # The end of an answer's turn may have tokens that the prompt has not.
        check_prompt(target("Paris"), model.tokenizer, model.model)
        return target
    return plain_target(model.tokenizer, question_set.framing, stop)


def _made_with(
    job: LearnJob,
    ensemble: Ensemble,
    question_set: QuestionSet,
    by: By,
    choice: WordingChoice,
) -> Manifest:
    """All that the weights depend on."""
    fields = manifest_fields(
        ensemble,
        question_set,
        {
            "by": by,
            "indices": choice.chosen(),
            "folds": job.folds,
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
    return Manifest(fields | {"versions": versions | {"scipy": version("scipy")}})

"""Learn how much each wording counts: what `self-ensemble learn-weights` does."""

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import cast

from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import Stopped, UserError
from self_ensemble.identity.checksum import DamagedError
from self_ensemble.jobs.filling import say_shrunk
from self_ensemble.jobs.inputs import LateModel, Model, answer_target, prompt_frame
from self_ensemble.jobs.learn_options import LearnOptions
from self_ensemble.jobs.learned import LearnedResult, cross_validation_fields
from self_ensemble.jobs.places import place_of
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.jobs.recipe import Place, Task
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.questions.chosen import Data, Questions
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.disk import OUTPUT_DIR, check_writable, naming_disk_errors, temp_path
from self_ensemble.results.lock import FileLock
from self_ensemble.results.manifest import Manifest, require_same
from self_ensemble.results.paths import learned_weights_path, model_folder_name
from self_ensemble.results.shards import set_aside
from self_ensemble.running.made_with import MAY_DIFFER, of_questions
from self_ensemble.running.making import Order
from self_ensemble.weighting.candidates import TOP_K
from self_ensemble.weighting.crossval import cross_validate, learn
from self_ensemble.weighting.devset import DevSet, DevSetRows
from self_ensemble.weighting.groups import By, group_of
from self_ensemble.weighting.learned_file import (
    LearnedWeights,
    learned_fields,
    read_document,
    write_learned,
)
from self_ensemble.weighting.maker import CANDIDATES, CandidateMaker

STANDARD = LearnOptions()


def learn_weights(
    questions: Questions,
    *,
    model: Model = DEFAULT_MODEL,
    output: Path | str | None = None,
    output_dir: Path | str = "results",
    options: LearnOptions = STANDARD,
    workers: Workers | None = None,
    progress: Progress = SILENT,
) -> LearnedResult:
    """Learn how much each wording counts from at most 200 questions whose answers are known.

    Args:
        questions: As `generate`; evaluate the weights on others.
        model: As `generate`.
        output: The .json file; by default learned_weights.json beside the results.
        output_dir: Folder of all results.
        options: Everything else.
        workers: As `generate`.
        progress: Who is told how it goes.

    Returns:
        The file, and what is in it.

    Raises:
        UserError: Something given cannot be used.
        Stopped: By Ctrl-C or SIGTERM; nothing is written.

    Example:
        >>> import self_ensemble as se
        >>> found = se.learn_weights(
        ...     se.DataOptions("demo", max_samples=4), output=folder / "learned.json",
        ...     options=se.LearnOptions(num_paraphrases=2, folds=2),
        ... )
        >>> [round(sum(weights), 3) for weights in found.learned.weights.values()]
        [1.0]
    """
    options.check()
    if workers is not None:
        workers.check()
    data, late = Data.of(questions), LateModel.of(model)
    question_set = data.question_set
    options.check_questions(question_set)
    option = "--output" if output else OUTPUT_DIR
    path = _output_path(output, Path(output_dir), question_set, late)
    check_writable(path.parent, option)
    asked = question_set.questions
    recipe = _Recipe(late, options, replace(question_set, questions=()))
    with ExitStack() as closing:
        place = closing.enter_context(place_of(recipe, workers, len(asked), progress))
        made_with = _made_with(options, data, of_questions(asked, place.about.made_with))
        with naming_disk_errors(path, option):
            lock = FileLock.acquire(path.with_name(f".{path.stem}.lock"), option)
        closing.enter_context(contextlib.closing(lock))
        with naming_disk_errors(path, option):
            temp_path(path).unlink(missing_ok=True)
            document = (
                None
                if options.overwrite
                else _finished(path, made_with, option, progress, repair=options.repair)
            )
        if document is not None:
            progress.say("Finished already.")
            return LearnedResult(path, document)
        dev_set = _ask(options, asked, place, progress)
        document = {**_learn(options, question_set, late, dev_set), **made_with.fields}
        with naming_disk_errors(path, option):
            write_learned(path, document)
    return LearnedResult(path, document)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What the right answers are asked with; of the question set the questions are left out."""

    model: LateModel
    options: LearnOptions
    question_set: QuestionSet

    @property
    def loads(self) -> str:
        return self.model.name

    def maker(self, progress: Progress) -> CandidateMaker:
        loaded, question_set = self.model.load(progress), self.question_set
        ensemble = Ensemble(
            loaded,
            "avg",
            frame=prompt_frame(self.options.chat_template, loaded, question_set),
            settings=Settings(max_new_tokens=question_set.max_new_tokens, stop=question_set.stop),
        )
        target = answer_target(self.options.chat_template, ensemble, question_set)
        return CandidateMaker(ensemble, self.options.choice, target, question_set)

    def rules(self) -> dict[str, object]:
        return {}


def _output_path(
    output: Path | str | None, output_dir: Path, question_set: QuestionSet, late: LateModel
) -> Path:
    if output is None:
        return learned_weights_path(output_dir, question_set.name, late.name)
    if Path(output).suffix.lower() != ".json":
        raise UserError(f"Got --output {output}. Give a file that ends in .json.", "SE-0014")
    return Path(output)


def _finished(
    path: Path, made_with: Manifest, option: str, progress: Progress, *, repair: bool
) -> dict[str, object] | None:
    """What an earlier run of the same command has written; None where there is nothing."""
    if not path.exists():
        return None
    remedy = f"Use --repair to set it aside and learn again, --overwrite, or another {option}."
    try:
        document = read_document(path, remedy)
    except DamagedError as damaged:
        if not repair:
            raise
        progress.warn(set_aside(path, damaged.fault))
        return None
    old = Manifest({name: document.get(name) for name in made_with.fields})
    require_same(old, made_with, MAY_DIFFER, path, option)
    return document


def _ask(
    options: LearnOptions, questions: Sequence[Question], place: Place, progress: Progress
) -> DevSet:
    rows = DevSetRows()
    work = place.work(Task(Order((CANDIDATES,)), rows.put, options.batch_size))
    with progress.working("learning", len(questions), 0) as on_batch:
        try:
            work(questions, on_batch=on_batch, on_shrink=say_shrunk(progress))
        except Stopped:
            progress.say("Stopped; nothing is written.")
            raise
    return rows.dev_set(questions)


def _learn(
    options: LearnOptions,
    question_set: QuestionSet,
    late: LateModel,
    dev_set: DevSet,
) -> dict[str, object]:
    by, choice = cast(By, options.by), options.choice
    groups = [group_of(question, by, choice.chosen()) for question in dev_set.questions]
    learned = learn(dev_set.candidates, groups)
    held_out = cross_validate(dev_set.candidates, groups, options.folds, options.seed)
    fields = learned_fields(
        LearnedWeights(
            by, learned.weights, choice.chosen(), question_set.name,
            model_folder_name(late.name), tuple(q.uuid for q in dev_set.questions),
        )
    )  # fmt: skip
    return fields | {
        "left_out": dev_set.left_out,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nll": learned.nll,
        "nll_uniform": learned.nll_uniform,
        "cross_validation": cross_validation_fields(held_out),
    }


def _made_with(options: LearnOptions, data: Data, made_with: Mapping[str, object]) -> Manifest:
    """All that the weights depend on."""
    given = data.options
    versions = cast(dict[str, str], made_with["versions"])
    return Manifest(
        {
            **made_with,
            "by": options.by,
            "indices": options.choice.chosen(),
            "folds": options.folds,
            "max_samples": given.max_samples,
            "offset": given.offset,
            "num_shots": given.num_shots,
            "num_manual": given.num_manual,
            "num_auto": given.num_auto,
            "seed": options.seed,
            "chat_template": options.chat_template,
            "top_k": TOP_K,
            "versions": versions | {"scipy": version("scipy")},
        }
    )

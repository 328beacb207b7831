"""Learn how much each wording counts: what `self-ensemble learn-weights` does."""

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import Stopped, UserError
from self_ensemble.identity.checksum import DamagedError
from self_ensemble.jobs.inputs import (
    CHAT_TEMPLATE,
    Data,
    LateModel,
    Model,
    Questions,
    check_choice,
    default_batch_size,
    prompt_frame,
    uses_chat_template,
)
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.models.sanity import check_prompt
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.disk import OUTPUT_DIR, check_writable, naming_disk_errors, temp_path
from self_ensemble.results.lock import FileLock
from self_ensemble.results.manifest import Manifest, require_same
from self_ensemble.results.paths import learned_weights_path, model_folder_name
from self_ensemble.results.shards import set_aside
from self_ensemble.running.choice import WordingChoice, fewest_wordings_message
from self_ensemble.running.made_with import MAY_DIFFER, manifest_fields
from self_ensemble.scoring.statistics import Estimate
from self_ensemble.weighting.candidates import TOP_K
from self_ensemble.weighting.crossval import HeldOut, Learned, check_folds, cross_validate, learn
from self_ensemble.weighting.devset import MAX_QUESTIONS, DevSet, ask_dev_set
from self_ensemble.weighting.groups import By, group_of
from self_ensemble.weighting.learned_file import (
    LearnedWeights,
    learned_fields,
    read_document,
    write_learned,
)
from self_ensemble.weighting.targets import Target, chat_target, plain_target


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """How weights are learned.

    Attributes:
        by: A weight for each "index" (place in the list of wordings) or each "template".
        num_paraphrases: Wordings per question, N, the original included.
        indices: These wordings instead.
        folds: Of the cross-validation.
        seed: Of its split.
        chat_template: "auto", "on" or "off".
        batch_size: Questions at once; None lets it shrink to what fits.
        overwrite: Learn anew over old weights.
        repair: Set aside a damaged file, and learn again.
    """

    by: str = "index"
    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    folds: int = 5
    seed: int = 0
    chat_template: str = "off"
    batch_size: int | None = None
    overwrite: bool = False
    repair: bool = False


STANDARD = LearnOptions()


@dataclass(frozen=True, slots=True)
class LearnedResult:
    """A file of learned weights.

    Attributes:
        path: The file; `GenerateOptions(weights=str(path))` takes it.
        document: Its fields.
    """

    path: Path
    document: Mapping[str, Any]

    @property
    def learned(self) -> Learned:
        """The weights, and how likely they make the right answers of the dev set."""
        document = self.document
        return Learned(document["weights"], document["nll"], document["nll_uniform"])

    @property
    def held_out(self) -> HeldOut:
        """What they are worth on questions that they were not fitted on, by cross-validation."""
        fields = self.document["cross_validation"]
        numbers = {name: math.nan if value is None else value for name, value in fields.items()}
        return HeldOut(
            fields["folds"],
            numbers["nll_learned"],
            numbers["nll_uniform"],
            Estimate(numbers["difference"], numbers["low"], numbers["high"], fields["questions"]),
        )


def learn_weights(
    questions: Questions,
    *,
    model: Model = DEFAULT_MODEL,
    output: Path | str | None = None,
    output_dir: Path | str = "results",
    options: LearnOptions = STANDARD,
    progress: Progress = SILENT,
) -> LearnedResult:
    """Learn how much each wording counts from at most 200 questions whose answers are known.

    Args:
        questions: As `generate`; evaluate the weights on others.
        model: As `generate`.
        output: The .json file; by default learned_weights.json beside the results.
        output_dir: Folder of all results.
        options: Everything else.
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
    check_choice("grouping", options.by, ("index", "template"))
    check_choice("chat template setting", options.chat_template, CHAT_TEMPLATE)
    choice = WordingChoice(options.num_paraphrases, options.indices)
    if len(choice.chosen()) < 2:
        raise UserError("Got 1 wording, which has all the weight. Give 2 or more.")
    data, late = Data.of(questions), LateModel.of(model)
    question_set = data.question_set
    _check_dev_questions(question_set, options, choice)
    option = "--output" if output else OUTPUT_DIR
    path = _output_path(output, Path(output_dir), question_set, late)
    check_writable(path.parent, option)
    loaded = late.load(progress)
    ensemble = Ensemble(
        loaded,
        "avg",
        frame=prompt_frame(options.chat_template, loaded, question_set),
        settings=Settings(max_new_tokens=question_set.max_new_tokens, stop=question_set.stop),
    )
    made_with = _made_with(options, data, ensemble, choice)
    with naming_disk_errors(path, option):
        lock = FileLock.acquire(path.with_name(f".{path.stem}.lock"), option)
    with closing(lock):
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
        dev_set = _ask(options, question_set, ensemble, choice, progress)
        document = {
            **_learn(options, question_set, late, dev_set, choice),
            **made_with.fields,
        }
        with naming_disk_errors(path, option):
            write_learned(path, document)
    return LearnedResult(path, document)


def _check_dev_questions(
    question_set: QuestionSet, options: LearnOptions, choice: WordingChoice
) -> None:
    """Refuse questions from which nothing can be learned.

    Raises:
        UserError: They are too many or too few, or have too few wordings.
    """
    questions = question_set.questions
    if not questions:
        raise UserError(f"No question of {question_set.name} is left. Use a smaller --offset.")
    if len(questions) > MAX_QUESTIONS:
        raise UserError(
            f"Got {len(questions)} questions. Weights are learned on at most {MAX_QUESTIONS}; "
            "use --max-samples, and keep the others to evaluate the weights."
        )
    problem = fewest_wordings_message(question_set, choice)
    if problem is not None:
        raise UserError(problem)
    check_folds(options.folds, len(questions))
    for question in questions:
        if len(question.wordings) >= choice.needed:
            group_of(question, cast(By, options.by), choice.chosen())


def _output_path(
    output: Path | str | None, output_dir: Path, question_set: QuestionSet, late: LateModel
) -> Path:
    if output is None:
        return learned_weights_path(output_dir, question_set.name, late.name)
    if Path(output).suffix.lower() != ".json":
        raise UserError(f"Got --output {output}. Give a file that ends in .json.")
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
    options: LearnOptions,
    question_set: QuestionSet,
    ensemble: Ensemble,
    choice: WordingChoice,
    progress: Progress,
) -> DevSet:
    with progress.working("learning", len(question_set.questions), 0) as on_batch:
        try:
            return ask_dev_set(
                ensemble,
                question_set.questions,
                choice,
                _target(options, ensemble, question_set),
                batch_size=options.batch_size or default_batch_size(ensemble.model),
                may_shrink=options.batch_size is None,
                on_batch=on_batch,
            )
        except Stopped:
            progress.say("Stopped; nothing is written.")
            raise


def _target(options: LearnOptions, ensemble: Ensemble, question_set: QuestionSet) -> Target:
    tokenizer, stop = ensemble.model.tokenizer, ensemble.stop
    if uses_chat_template(options.chat_template, ensemble.model):
        target = chat_target(tokenizer, stop)
        # The end of an answer's turn may have tokens that the prompt has not.
        check_prompt(target("Paris"), tokenizer, ensemble.model.model)
        return target
    return plain_target(tokenizer, question_set.framing, stop)


def _learn(
    options: LearnOptions,
    question_set: QuestionSet,
    late: LateModel,
    dev_set: DevSet,
    choice: WordingChoice,
) -> dict[str, object]:
    by = cast(By, options.by)
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
        "cross_validation": _cross_validation_fields(held_out),
    }


def _cross_validation_fields(held_out: HeldOut) -> dict[str, object]:
    """A cross-validation as JSON takes it; `LearnedResult.held_out` reads it."""
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


def _made_with(
    options: LearnOptions, data: Data, ensemble: Ensemble, choice: WordingChoice
) -> Manifest:
    """All that the weights depend on."""
    fields = manifest_fields(
        ensemble,
        data.question_set,
        {
            "by": options.by,
            "indices": choice.chosen(),
            "folds": options.folds,
            "max_samples": data.options.max_samples,
            "offset": data.options.offset,
            "num_shots": data.options.num_shots,
            "num_manual": data.options.num_manual,
            "num_auto": data.options.num_auto,
            "seed": options.seed,
            "chat_template": options.chat_template,
            "top_k": TOP_K,
        },
    )
    versions = cast(dict[str, str], fields["versions"])
    return Manifest(fields | {"versions": versions | {"scipy": version("scipy")}})

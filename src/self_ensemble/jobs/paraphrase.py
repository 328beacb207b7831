"""Draw wordings of questions and keep the good ones: what `self-ensemble paraphrase` does."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError, at_least
from self_ensemble.identity.checksum import sha256_of
from self_ensemble.jobs.filling import fill, say_repaired
from self_ensemble.jobs.inputs import LateModel, Model, ModelOptions, check_choice
from self_ensemble.jobs.places import place_of
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.jobs.recipe import Task
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.models.load import LoadedModel
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.chosen import Data, Questions
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.manifest import Manifest
from self_ensemble.running.finite_rows import held_back
from self_ensemble.running.made_with import QUESTIONS
from self_ensemble.running.making import Order, append_rows
from self_ensemble.walking.sampling import Sampling
from self_ensemble.wordings.checks import AnswerCheck
from self_ensemble.wordings.draw import Check, Rewriter, human_pools
from self_ensemble.wordings.entailment import load_entailment
from self_ensemble.wordings.maker import WORDINGS, WordingMaker
from self_ensemble.wordings.output import Output, asked_sha256, read_rows
from self_ensemble.wordings.rows import Summary, summarise

CHECKS = ("none", "answer", "nli")


@dataclass(frozen=True, slots=True)
class ParaphraseOptions:
    """How wordings are made and chosen.

    Attributes:
        num: Wordings to keep of each question; None keeps all that pass (with `human`).
        human: Put the wordings that the data set has through the gate, and draw none.
        check: "none", "answer" (same answer) or "nli" (entailment in both directions).
        nli_model: Entailment model, for "nli".
        nli_threshold: Least probability of entailment.
        tries: Rounds of drawing at most.
        temperature: Of the draws.
        top_p: Their nucleus.
        seed: Of the draws.
        batch_size: Questions at once; None lets it shrink to what fits.
        overwrite: Start anew over old results.
        repair: Set aside what is damaged, and make it again.
    """

    num: int | None = 5
    human: bool = False
    check: str = "none"
    nli_model: str | None = None
    nli_threshold: float = 0.5
    tries: int = 16
    temperature: float = 0.7
    top_p: float = 0.9
    seed: int = 0
    batch_size: int | None = None
    overwrite: bool = False
    repair: bool = False

    def check_values(self) -> None:
        """Refuse what cannot be, before anything is loaded.

        Raises:
            UserError: A value is none of those above.
        """
        check_choice("check", self.check, CHECKS)
        at_least("--num", self.num, 1)
        at_least("--tries", self.tries, 1)
        at_least("--batch-size", self.batch_size, 1)
        if self.num is None and not self.human:
            raise UserError(
                "Got no number of wordings to keep, which only --human may leave out.", "SE-0013"
            )
        if self.check == "nli" and self.nli_model is None:
            raise UserError(
                "--check nli needs an entailment model. Name one with --nli-model.", "SE-0013"
            )
        if not self.human and self.temperature == 0:
            raise UserError(
                "Got --temperature 0: all draws would be alike. Give more than 0.", "SE-0607"
            )


STANDARD = ParaphraseOptions()


@dataclass(frozen=True, slots=True)
class Wordings:
    """A finished file of wordings.

    Attributes:
        files: What was named, and the feather file beside it with the same content.
        summary: What is in it.
        seconds: How long it took; None where it was finished already.
    """

    files: tuple[Path, ...]
    summary: Summary
    seconds: float | None

    @property
    def path(self) -> Path:
        """The file that was named; `DataOptions(paraphrases=...)` takes it."""
        return self.files[0]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each question: wordings kept, wordings refused and why."""
        return read_rows(self.files[-1])


def paraphrase(
    questions: Questions,
    output: Path | str,
    *,
    model: Model = DEFAULT_MODEL,
    options: ParaphraseOptions = STANDARD,
    workers: Workers | None = None,
    progress: Progress = SILENT,
) -> Wordings:
    """Reword every question, refuse what is no good, and keep the rest in a file.

    A run that was stopped goes on when it is called again.

    Args:
        questions: As `generate`; only the original wordings, unless `options.human`.
        output: File for the wordings, .jsonl or .feather.
        model: As `generate`.
        options: Everything else.
        workers: As `generate`.
        progress: Who is told how it goes.

    Returns:
        The files, and what is in them.

    Raises:
        UserError: Something given cannot be used; what was done before is kept.
        Stopped: By Ctrl-C or SIGTERM, after a whole batch.

    Example:
        >>> import self_ensemble as se
        >>> wordings = se.paraphrase(
        ...     se.DataOptions("demo", max_samples=1), folder / "wordings.jsonl",
        ...     options=se.ParaphraseOptions(human=True, num=2),
        ... )
        >>> len(wordings.rows()[0]["paraphrases"])
        2
    """
    options.check_values()
    if workers is not None:
        workers.check()
    data, late = Data.of(questions), LateModel.of(model)
    question_set = data.question_set
    named = Output.of(Path(output), [Path(data.options.dataset)])
    if options.human and all(len(question.wordings) < 2 for question in question_set.questions):
        raise UserError(
            f"No question of {question_set.name} has another wording than its original, so there "
            "is nothing for --human to take. Leave it out to draw wordings.",
            "SE-0201",
        )
    recipe = _Recipe(late, replace(question_set, questions=()), options)
    if workers is not None and not (recipe.needs_model or options.check == "nli"):
        raise UserError(
            "Workers have nothing to do where no model is asked. Leave --workers out, or add a "
            "--check.",
            "SE-0012",
        )
    asked = question_set.questions
    uuids = [question.uuid for question in asked]
    seconds = None
    with place_of(recipe, workers, len(asked), progress) as place:
        manifest = Manifest({**place.about.made_with, **_manifest_fields(data, options)})
        with named.open(
            manifest, uuids, overwrite=options.overwrite, repair=options.repair
        ) as file:
            say_repaired([file], progress)
            if file.finished:
                progress.say("Finished already.")
            else:
                put = partial(append_rows, files=held_back({WORDINGS: file}, len(asked)))
                seconds = fill(
                    [file],
                    asked,
                    place.work(Task(Order((WORDINGS,)), put, options.batch_size)),
                    progress=progress,
                    doing="rewording",
                ).seconds
            for line in named.export(repair=options.repair):
                progress.warn(line)
    files = tuple(dict.fromkeys([named.named, named.store]))
    return Wordings(files, summarise(read_rows(named.store)), seconds)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What wordings are made with; of the question set the questions are left out."""

    model: LateModel
    question_set: QuestionSet
    options: ParaphraseOptions

    @property
    def needs_model(self) -> bool:
        return not self.options.human or self.options.check == "answer"

    @property
    def loads(self) -> str:
        return self.model.name if self.needs_model else str(self.options.nli_model)

    def maker(self, progress: Progress) -> WordingMaker:
        options = self.options
        model = self.model.load(progress) if self.needs_model else None
        answering, nli = None, None
        check: Check | None = None
        if options.check == "answer":
            assert model is not None  # `needs_model`
            answering = _answering(model, self.question_set)
            check = AnswerCheck(answering)
        elif options.check == "nli":
            assert options.nli_model is not None  # `check_values`
            with progress.loading(options.nli_model):
                device = _device(self.model, model)
                check = load_entailment(options.nli_model, options.nli_threshold, device)
                nli = check.identity()
        prompt = None if answering is None else sha256_of(answering.frame.identity())
        if options.human:
            backend = None if answering is None else answering.engine.backend_name
            pools = partial(human_pools, check=check)
            return WordingMaker(
                pools=pools, num=options.num, draws=False, model=model, backend=backend,
                check_prompt=prompt, nli=nli,
            )  # fmt: skip
        assert model is not None  # `needs_model`
        sampling = Sampling(options.temperature, options.top_p, options.seed)
        rewriter = Rewriter(
            model, num=options.num or 0, tries=options.tries, sampling=sampling, check=check
        )
        return WordingMaker(
            pools=rewriter.draw, num=options.num, draws=True, model=model,
            backend=rewriter.backend, check_prompt=prompt, nli=nli,
        )  # fmt: skip

    def rules(self) -> dict[str, object]:
        return {}


def _manifest_fields(data: Data, options: ParaphraseOptions) -> dict[str, object]:
    """The questions and options that wordings depend on."""
    question_set = data.question_set
    fields: dict[str, object] = {
        "dataset": question_set.name,
        "data_source": question_set.source,
        QUESTIONS: asked_sha256(question_set.questions, human=options.human),
        "num": options.num,
        "human": options.human,
        "check": options.check,
        "nli_model": options.nli_model,
        "max_samples": data.options.max_samples,
        "offset": data.options.offset,
        "num_shots": data.options.num_shots,
        "seed": options.seed,
        "batch_size": options.batch_size,
        "nli_threshold": options.nli_threshold if options.check == "nli" else None,
    }
    if not options.human:
        sampling = Sampling(options.temperature, options.top_p, options.seed)
        fields |= {"tries": options.tries, **asdict(sampling)}
    return fields


def _device(late: LateModel, model: LoadedModel | None) -> str:
    """Where the entailment model goes: to the other model, else where that would go."""
    if model is not None:
        return str(model.device)
    if isinstance(late.given, ModelOptions) and late.given.device != "auto":
        return late.given.device
    return "cpu"


def _answering(model: LoadedModel, question_set: QuestionSet) -> Ensemble:
    """The ensemble that answers for `--check answer`, as `generate --method origin` does."""
    return Ensemble(
        model,
        "origin",
        frame=plain_frame(
            model.tokenizer, question_set.instruction, question_set.shots, question_set.framing
        ),
        settings=Settings(max_new_tokens=question_set.max_new_tokens, stop=question_set.stop),
    )

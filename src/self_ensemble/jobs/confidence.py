"""Estimate how sure the model is of its answers: what `self-ensemble confidence` does."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from self_ensemble.asking.request import Settings
from self_ensemble.confidence.estimators import ESTIMATORS
from self_ensemble.confidence.maker import ConfidenceMaker
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError, at_least
from self_ensemble.jobs.inputs import CHAT_TEMPLATE, LateModel, Model, check_choice, prompt_frame
from self_ensemble.jobs.places import fill_from, place_of
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.jobs.results import Results
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.questions.chosen import Data, Questions
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.results.disk import check_writable
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.paths import confidence_path, result_folder
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.schema import CONFIDENCE_SCHEMA
from self_ensemble.results.store import ResultFile
from self_ensemble.running.choice import WordingChoice, fewest_wordings_message
from self_ensemble.running.made_with import MAY_DIFFER, of_questions
from self_ensemble.running.making import Order
from self_ensemble.walking.sampling import Sampling


@dataclass(frozen=True, slots=True)
class ConfidenceOptions:
    """How confidences are estimated.

    Attributes:
        num_samples: Answers that `sampling` draws of each wording.
        temperature: Of these draws.
        top_p: Their nucleus.
        seed: Of these draws.
        num_paraphrases: Wordings per question, N, the original included.
        indices: These wordings instead.
        chat_template: "auto", "on" or "off".
        max_new_tokens: Longest answer, in tokens; None for the data set's.
        stop: Strings that end an answer; None for the data set's.
        batch_size: Questions at once; None lets it shrink to what fits.
        overwrite: Start anew over old results.
        repair: Set aside what is damaged, and make it again.
    """

    num_samples: int = 100
    temperature: float = 0.6
    top_p: float = 0.9
    seed: int = 0
    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    chat_template: str = "off"
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    batch_size: int | None = None
    overwrite: bool = False
    repair: bool = False

    def check(self) -> None:
        """Refuse what cannot be, before anything is loaded.

        Raises:
            UserError: A value is none of those above.
        """
        check_choice("chat template setting", self.chat_template, CHAT_TEMPLATE)
        at_least("--num-paraphrases", self.num_paraphrases, 1)
        at_least("--num-samples", self.num_samples, 1)
        at_least("--max-new-tokens", self.max_new_tokens, 1)
        at_least("--batch-size", self.batch_size, 1)


STANDARD = ConfidenceOptions()


def estimate_confidence(
    questions: Questions,
    *,
    model: Model = DEFAULT_MODEL,
    estimators: str | Sequence[str] = "sampling",
    output_dir: Path | str = "results",
    options: ConfidenceOptions = STANDARD,
    workers: Workers | None = None,
    progress: Progress = SILENT,
) -> Results:
    """Estimate how sure the model is of its answer to each wording.

    Each estimator writes one file beside the results, which `generate` reads as weights and
    `analyze` compares with what was right. A run that was stopped goes on when it is called again.

    Args:
        questions: As `generate`.
        model: As `generate`.
        estimators: One or several: "sampling", "logprob", "margin", "entropy", "agreement",
            "p_true", or "all".
        output_dir: Folder of all results.
        options: Everything else.
        workers: As `generate`.
        progress: Who is told how it goes.

    Returns:
        The files and what was done.

    Raises:
        UserError: Something given cannot be used; what was done before is kept.
        Stopped: By Ctrl-C or SIGTERM, after a whole batch.

    Example:
        >>> import self_ensemble as se
        >>> found = se.estimate_confidence(
        ...     se.DataOptions("demo", max_samples=1), estimators=["logprob"], output_dir=folder,
        ...     options=se.ConfidenceOptions(num_paraphrases=2),
        ... )
        >>> [0 < row["confidence"] <= 1 for row in found.rows("logprob")]
        [True, True]
    """
    options.check()
    if workers is not None:
        workers.check()
    names = _names(estimators)
    sampling = Sampling(options.temperature, options.top_p, options.seed)
    data, late = Data.of(questions), LateModel.of(model)
    question_set, output_dir = data.question_set, Path(output_dir)
    choice = WordingChoice(options.num_paraphrases, options.indices)
    problem = fewest_wordings_message(question_set, choice)
    if problem is not None:
        raise UserError(problem, "SE-0201")
    if "agreement" in names and len(choice.chosen()) < 2:
        raise UserError("The estimator agreement compares wordings. Ask two or more.", "SE-0010")
    if "sampling" in names and sampling.temperature == 0.0:
        raise UserError(
            "Got --temperature 0, at which all samples are equal. Give more than 0.", "SE-0607"
        )
    check_writable(result_folder(output_dir, question_set.name, late.name).parent)
    recipe = _Recipe(
        late,
        Settings(
            max_new_tokens=options.max_new_tokens or question_set.max_new_tokens,
            stop=question_set.stop if options.stop is None else options.stop,
        ),
        options.chat_template,
        choice,
        replace(question_set, questions=()),
        options.num_samples,
        sampling,
    )
    questions_asked = question_set.questions
    uuids = tuple(question.uuid for question in questions_asked)
    with ExitStack() as closing:
        place = closing.enter_context(place_of(recipe, workers, len(uuids), progress))
        made_with = of_questions(questions_asked, place.about.made_with)
        files = {
            name: closing.enter_context(
                ResultFile.open(
                    confidence_path(output_dir, question_set.name, late.name, name),
                    Manifest({**made_with, **_manifest_fields(name, options, data, recipe)}),
                    RowPlan(CONFIDENCE_SCHEMA, uuids, choice.chosen()),
                    may_differ=MAY_DIFFER,
                    overwrite=options.overwrite,
                    repair=options.repair,
                )
            )
            for name in names
        }
        return fill_from(
            place,
            files,
            question_set,
            Order(tuple(files)),
            batch_size=options.batch_size,
            progress=progress,
            doing="exploring",
        )


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What confidences are estimated with; of the question set the questions are left out."""

    model: LateModel
    settings: Settings
    chat_template: str
    choice: WordingChoice
    question_set: QuestionSet
    num_samples: int
    sampling: Sampling

    @property
    def loads(self) -> str:
        return self.model.name

    def maker(self, progress: Progress) -> ConfidenceMaker:
        loaded = self.model.load(progress)
        frame = prompt_frame(self.chat_template, loaded, self.question_set)
        ensemble = Ensemble(loaded, "per_prompt", frame=frame, settings=self.settings)
        return ConfidenceMaker(
            ensemble, self.choice, self.question_set, self.num_samples, self.sampling
        )

    def rules(self) -> dict[str, object]:
        return {}


def _names(estimators: str | Sequence[str]) -> tuple[str, ...]:
    estimators = [estimators] if isinstance(estimators, str) else estimators
    for name in estimators:
        check_choice("estimator", name, [*ESTIMATORS, "all"])
    asked = [one for name in estimators for one in (ESTIMATORS if name == "all" else [name])]
    if not asked:
        raise UserError(
            f"No estimator given. Choose from: {', '.join(ESTIMATORS)}, all.", "SE-0013"
        )
    return tuple(dict.fromkeys(asked))


def _manifest_fields(
    estimator: str, options: ConfidenceOptions, data: Data, recipe: _Recipe
) -> dict[str, object]:
    """The options that what an estimator finds depends on."""
    sampled = estimator == "sampling"
    return {
        "estimator": estimator,
        "num_paraphrases": options.num_paraphrases,
        "indices": options.indices,
        "num_shots": data.options.num_shots,
        "num_manual": data.options.num_manual,
        "num_auto": data.options.num_auto,
        "chat_template": options.chat_template,
        "max_new_tokens": recipe.settings.max_new_tokens,
        "stop": recipe.settings.stop,
        "num_samples": options.num_samples if sampled else None,
        "temperature": options.temperature if sampled else None,
        "top_p": options.top_p if sampled else None,
        "seed": options.seed if sampled else None,
    }

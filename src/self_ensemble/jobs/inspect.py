"""Look into one question: what `self-ensemble inspect` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from self_ensemble.asking.methods import AnyMethod
from self_ensemble.errors import UserError
from self_ensemble.jobs.answering import Answering
from self_ensemble.jobs.generate_options import STANDARD, GenerateOptions
from self_ensemble.jobs.inputs import Model
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.models.aliases import DEFAULT_MODEL
from self_ensemble.questions.chosen import Questions
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.running.choice import request_of
from self_ensemble.running.made_with import of_questions
from self_ensemble.tracing.trace import Trace

MOST_NAMED = 3


def inspect(
    questions: Questions,
    row: str | None = None,
    *,
    model: Model = DEFAULT_MODEL,
    methods: AnyMethod | Sequence[AnyMethod] = ("flex_attention", "avg", "vote"),
    output_dir: Path | str = "results",
    options: GenerateOptions = STANDARD,
    num_top: int = 5,
    num_ahead: int = 8,
    progress: Progress = SILENT,
) -> Trace:
    """Look into one question as `generate` would ask it.

    Args:
        questions: As `generate` takes them.
        row: The question's id; None for the first.
        model: Alias, hub id, folder, .gguf file, `ModelOptions`, or a model that is loaded.
        methods: One or several, as `generate` takes them.
        output_dir: Folder of results, where confidences that serve as weights lie.
        options: How the question is asked.
        num_top: How many of the likeliest tokens are kept of each distribution.
        num_ahead: Most tokens that each wording goes on with alone from each step.
        progress: Who is told how it goes.

    Raises:
        UserError: Something given cannot be used, or the question cannot be asked.
    """
    job = Answering.of(questions, model, methods, output_dir, options)
    question = _question(job.question_set, row)
    choice = job.choice()
    weights, segment_weights = job.weights(choice)
    request = request_of(question, choice, weights, segment_weights)
    maker = job.recipe(choice).maker(progress)
    if job.sources:
        made_with = of_questions(job.question_set.questions, maker.about.made_with)
        job.require_fitting(made_with)
    return maker.ensemble.trace(
        request,
        accepted=question.answers,
        num_top=num_top,
        num_ahead=num_ahead,
        attribution=options.attribution,
    )


def wordings_alone(
    wordings: Sequence[str], columns: Mapping[str, Sequence[float]] | None = None
) -> QuestionSet:
    """One question in these wordings, without instruction, examples or accepted answers.

    Args:
        wordings: The wordings.
        columns: Weights of the wordings, by the name that options give as their source.
    """
    extra = {name: list(weights) for name, weights in (columns or {}).items()}
    question = Question("text", tuple(wordings), (), extra=extra)
    return QuestionSet("", (question,), (), "")


def _question(question_set: QuestionSet, row: str | None) -> Question:
    questions = question_set.questions
    if not questions:
        raise UserError(f"{question_set.name} has no question to look into.", "SE-0112")
    if row is None:
        return questions[0]
    found = next((question for question in questions if question.uuid == row), None)
    if found is None:
        some = ", ".join(repr(question.uuid) for question in questions[:MOST_NAMED])
        raise UserError(
            f"{question_set.name} has no question with the id {row!r}. Its first are {some}; "
            "`generate --show-questions 20`, of the same data, shows more.",
            "SE-0112",
        )
    return found

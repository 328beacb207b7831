"""From a batch of questions to rows, and from rows to the disk."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from self_ensemble.asking.request import Outcome, Request, Unanswered
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.choice import Weights, WordingChoice, make_request, original_request
from self_ensemble.running.finite_rows import FiniteRows, end_if
from self_ensemble.running.rows import RowMaker


class MethodRows(NamedTuple):
    """Rows of some questions for the file of one method.

    Attributes:
        rows: All rows of the questions.
        not_finite: Why questions have rows that are not finite, by uuid.
    """

    rows: Sequence[Mapping[str, object]]
    not_finite: Mapping[str, str]


class BatchRows(NamedTuple):
    """What came of a batch, not on disk yet.

    Attributes:
        methods: The rows of each method.
        progress: How many questions, how many of them failed, and how long it took.
    """

    methods: Mapping[str, MethodRows]
    progress: BatchProgress


def answer_batch(
    batch: Sequence[Question],
    *,
    ensemble: Ensemble,
    choice: WordingChoice,
    files: Mapping[str, FiniteRows],
    weights: Weights | None = None,
    segment_weights: Weights | None = None,
) -> BatchProgress:
    """Answer a batch of questions with all methods of an ensemble and put the rows on disk.

    Args:
        batch: What to ask.
        ensemble: The model with the methods to run.
        choice: Which wordings.
        files: An open, unfinished result file for each of the ensemble's methods.
        weights: Weights of the weighted methods by uuid.
        segment_weights: Weights inside attention by uuid.

    Raises:
        UserError: A rule of the user's fails, or nothing of the run so far is finite.
    """
    started = time.perf_counter()
    made = make_rows(
        batch, ensemble=ensemble, choice=choice, weights=weights, segment_weights=segment_weights
    )
    append_rows(made, files)
    return made.progress._replace(seconds=time.perf_counter() - started)


def append_rows(made: BatchRows, files: Mapping[str, FiniteRows]) -> None:
    """Put the rows of a batch on disk.

    Raises:
        UserError: Nothing of the run so far is finite, or the disk refuses.
    """
    end_if([files[name].append(*found) for name, found in made.methods.items()])


def make_rows(
    batch: Sequence[Question],
    *,
    ensemble: Ensemble,
    choice: WordingChoice,
    weights: Weights | None = None,
    segment_weights: Weights | None = None,
) -> BatchRows:
    """Answer a batch of questions with all methods of an ensemble; nothing is written.

    Args:
        batch: What to ask.
        ensemble: The model with the methods to run.
        choice: Which wordings.
        weights: Weights of the weighted methods by uuid.
        segment_weights: Weights inside attention by uuid.

    Raises:
        UserError: A rule of the user's fails.
    """
    started = time.perf_counter()
    requests: dict[str, Request] = {}
    errors: dict[str, str] = {}
    for question in batch:
        try:
            request = make_request(question, choice, weights, segment_weights)
            ensemble.check(request)
            requests[question.uuid] = request
        except UserError as error:
            errors[question.uuid] = str(error)
    answers = _answers(ensemble, requests)
    rescued = _originals(ensemble, [q for q in batch if q.uuid in errors])
    seconds = (time.perf_counter() - started) / max(len(requests), 1)
    row = RowMaker(ensemble, choice, seconds)
    methods: dict[str, MethodRows] = {}
    failed = set(errors)
    for method in ensemble.methods:
        found = answers[method.name] | (rescued if method.kind == "original" else {})
        rows: list[dict[str, object]] = []
        not_finite: dict[str, str] = {}
        for question in batch:
            answer = found.get(question.uuid)
            rows += row.rows(method, question, answer, errors.get(question.uuid))
            reason = None if answer is None else _first_error(answer)
            if reason is not None:
                not_finite[question.uuid] = reason
        methods[method.name] = MethodRows(rows, not_finite)
        failed |= not_finite.keys()
    done = BatchProgress(len(batch), len(failed), time.perf_counter() - started)
    return BatchRows(methods, done)


def error_rows(
    question: Question, reason: str, ensemble: Ensemble, choice: WordingChoice
) -> BatchRows:
    """The rows of a question that is not asked at all, with the reason why."""
    row = RowMaker(ensemble, choice, math.nan)
    return BatchRows(
        {
            method.name: MethodRows(list(row.rows(method, question, None, reason)), {})
            for method in ensemble.methods
        },
        BatchProgress(1, 1, 0.0),
    )


def _first_error(answer: Outcome) -> str | None:
    """Why some wording of a question, or all of it, is not finite."""
    found = (answer, *answer.members)
    return next((one.error for one in found if isinstance(one, Unanswered)), None)


def _answers(ensemble: Ensemble, requests: dict[str, Request]) -> dict[str, dict[str, Outcome]]:
    if not requests:
        return {method.name: {} for method in ensemble.methods}
    found = ensemble.run(list(requests.values()))
    return {name: dict(zip(requests, answers, strict=True)) for name, answers in found.items()}


def _originals(ensemble: Ensemble, questions: Sequence[Question]) -> dict[str, Outcome]:
    """Answers of `origin` to questions whose other wordings cannot be asked."""
    methods = [method for method in ensemble.methods if method.kind == "original"]
    requests = {
        question.uuid: original_request(question)
        for question in questions
        if methods
        and question.answers
        and ensemble.problem(original_request(question), methods) is None
    }
    if not requests:
        return {}
    found = ensemble.run(list(requests.values()), methods)[methods[0].name]
    return dict(zip(requests, found, strict=True))

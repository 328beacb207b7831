"""From a batch of questions to rows of answers."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Outcome, Request, Unanswered
from self_ensemble.asking.token_count import TokenCount
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.paths import LOGPROBS
from self_ensemble.running.attributed import NOTHING, Attributed
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.choice import WordingChoice, make_request, original_request
from self_ensemble.running.logprobs import LogprobMaker
from self_ensemble.running.made_with import about
from self_ensemble.running.making import About, BatchRows, FileRows, Order
from self_ensemble.running.rows import RowMaker, row_schema


@dataclass(frozen=True, slots=True)
class AnswerMaker:
    """A maker of answers.

    Attributes:
        ensemble: The model with the methods of the run.
        choice: Which wordings.
        question_set: Instruction, examples and framing; its questions are not looked at.
        attributed: What is attributed to wordings, in columns of its own.
        logprobs: Makes the rows of the wordings' log-probabilities, a file of its own; None where
            they are not kept.
    """

    ensemble: Ensemble
    choice: WordingChoice
    question_set: QuestionSet
    attributed: Attributed = NOTHING
    logprobs: LogprobMaker | None = None

    @property
    def about(self) -> About:
        """What it is made of."""
        return about(self.ensemble, self.question_set)

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through the model, by name."""
        return asdict(self.ensemble.counters)

    def make(self, batch: Sequence[Question], order: Order) -> BatchRows:
        """Answer some questions with the methods that the order names.

        Raises:
            UserError: A rule of the user's fails.
        """
        started = time.perf_counter()
        ensemble, methods = self.ensemble, self._methods(order)
        requests: dict[str, Request] = {}
        errors: dict[str, str] = {}
        for question in batch:
            try:
                request = make_request(question, self.choice, order.weights, order.segment_weights)
                ensemble.check(request, methods)
                requests[question.uuid] = request
            except UserError as error:
                errors[question.uuid] = str(error)
        answers = _answers(ensemble, requests, methods)
        rescued = _originals(ensemble, [q for q in batch if q.uuid in errors], methods)
        seconds = (time.perf_counter() - started) / max(len(requests), 1)
        row = RowMaker(ensemble, self.choice, seconds)
        count = TokenCount(ensemble.prefiller, ensemble.decode)
        files: dict[str, FileRows] = {}
        failed = set(errors)
        for method in methods:
            found = answers[method.name] | (rescued if method.kind == "original" else {})
            rows: list[dict[str, object]] = []
            not_finite: dict[str, str] = {}
            for question in batch:
                uuid = question.uuid
                answer = found.get(uuid)
                more = self.attributed.columns(ensemble, method, requests.get(uuid), answer)
                tokens = _tokens(count, method, question, requests.get(uuid), answer)
                of_question = row.rows(method, question, answer, errors.get(uuid), tokens)
                rows += [one | more for one in of_question]
                reason = None if answer is None else _first_error(answer)
                if reason is not None:
                    not_finite[question.uuid] = reason
            files[method.name] = FileRows.of(rows, self._schema(method), not_finite)
            failed |= not_finite.keys()
        if self.logprobs is not None and LOGPROBS in order.files:
            kept = self.logprobs.rows(batch, requests, errors)
            files[LOGPROBS] = kept
            failed |= kept.not_finite.keys()
        done = BatchProgress(len(batch), len(failed), time.perf_counter() - started)
        return BatchRows(files, done)

    def give_up(self, question: Question, reason: str, order: Order) -> BatchRows:
        """Error rows for a question that is not asked any more."""
        row = RowMaker(self.ensemble, self.choice, math.nan)
        files = {
            method.name: FileRows.of(
                [
                    one | self.attributed.columns(self.ensemble, method, None, None)
                    for one in row.rows(method, question, None, reason)
                ],
                self._schema(method),
            )
            for method in self._methods(order)
        }
        if self.logprobs is not None and LOGPROBS in order.files:
            files[LOGPROBS] = self.logprobs.rows([question], {}, {question.uuid: reason})
        return BatchRows(files, BatchProgress(1, 1, 0.0))

    def _schema(self, method: Method) -> pa.Schema:
        return row_schema(method, self.attributed.kinds)

    def _methods(self, order: Order) -> list[Method]:
        return [method for method in self.ensemble.methods if method.name in order.files]


def _tokens(
    count: TokenCount,
    method: Method,
    question: Question,
    request: Request | None,
    answer: Outcome | None,
) -> tuple[int | None, ...]:
    """What the method alone sends through the model for each row; none where it was not asked."""
    if answer is None:
        return ()
    return count.of(method, request or original_request(question), answer)


def _first_error(answer: Outcome) -> str | None:
    """Why some wording of a question, or all of it, is not finite."""
    found = (answer, *answer.members)
    return next((one.error for one in found if isinstance(one, Unanswered)), None)


def _answers(
    ensemble: Ensemble, requests: dict[str, Request], methods: Sequence[Method]
) -> dict[str, dict[str, Outcome]]:
    if not requests or not methods:
        return {method.name: {} for method in methods}
    found = ensemble.run(list(requests.values()), methods)
    return {name: dict(zip(requests, answers, strict=True)) for name, answers in found.items()}


def _originals(
    ensemble: Ensemble, questions: Sequence[Question], methods: Sequence[Method]
) -> dict[str, Outcome]:
    """Answers of `origin` to questions whose other wordings cannot be asked."""
    methods = [method for method in methods if method.kind == "original"]
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

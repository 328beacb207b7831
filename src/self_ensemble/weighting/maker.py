"""From a batch of labelled questions to what their wordings predict for the right answers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from self_ensemble.asking.request import Request
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.choice import WordingChoice, make_request
from self_ensemble.running.made_with import about
from self_ensemble.running.making import About, BatchRows, FileRows, Order
from self_ensemble.weighting.candidates import TOP_K, Candidates, answer_candidates
from self_ensemble.weighting.targets import Target

# The rows are for no file: they are learned from.
CANDIDATES = "candidates"
# One row a question, with the fields of its `Candidates`; all null in an error row.
CANDIDATE_SCHEMA = pa.schema(
    [
        pa.field("uuid", pa.string(), nullable=False),
        pa.field("logprobs", pa.list_(pa.list_(pa.float64()))),
        pa.field("starts", pa.list_(pa.int64())),
        pa.field("right", pa.list_(pa.int64())),
        pa.field("error", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class CandidateMaker:
    """A maker of rows of `CANDIDATE_SCHEMA`.

    Attributes:
        ensemble: An ensemble with a logit-level method.
        choice: Which wordings.
        target: Token ids of an answer; see `targets`.
        question_set: Instruction, examples and framing; its questions are not looked at.
        top_k: Most probable tokens that are kept of each wording at each position.
    """

    ensemble: Ensemble
    choice: WordingChoice
    target: Target
    question_set: QuestionSet
    top_k: int = TOP_K

    @property
    def about(self) -> About:
        """What it is made of."""
        return about(self.ensemble, self.question_set)

    @property
    def counters(self) -> Mapping[str, int]:
        """What has gone through the model, by name."""
        return asdict(self.ensemble.counters)

    def make(self, batch: Sequence[Question], order: Order) -> BatchRows:
        """Feed every wording of every question the first of the accepted answers."""
        started = time.perf_counter()
        requests: list[Request] = []
        answers: list[tuple[int, ...]] = []
        errors: dict[str, str] = {}
        for question in batch:
            try:
                request = self._checked_request(question)
            except UserError as error:
                errors[question.uuid] = str(error)
            else:
                requests.append(request)
                answers.append(self.target(question.answer_texts[0]))
        found: dict[str, Candidates] = {}
        not_finite: dict[str, str] = {}
        for request, one in zip(requests, self._learnable(requests, answers), strict=True):
            if isinstance(one, str):
                not_finite[request.key] = errors[request.key] = one
            else:
                found[request.key] = one
        rows = [
            _row(question, found.get(question.uuid), errors.get(question.uuid))
            for question in batch
        ]
        done = BatchProgress(len(batch), len(errors), time.perf_counter() - started)
        return BatchRows({CANDIDATES: FileRows.of(rows, CANDIDATE_SCHEMA, not_finite)}, done)

    def give_up(self, question: Question, reason: str, order: Order) -> BatchRows:
        """The row of a question that is not asked any more."""
        rows = FileRows.of([_row(question, None, reason)], CANDIDATE_SCHEMA)
        return BatchRows({CANDIDATES: rows}, BatchProgress(1, 1, 0.0))

    def _checked_request(self, question: Question) -> Request:
        request = make_request(question, self.choice, None, None)
        self.ensemble.check(request)
        if not any(text.strip() for text in question.answer_texts[:1]):
            raise UserError(
                "The first accepted answer is no text, so nothing can be learned from it.",
                "SE-0609",
            )
        return request

    def _learnable(
        self, requests: Sequence[Request], answers: Sequence[Sequence[int]]
    ) -> list[Candidates | str]:
        """What each question predicts, or why nothing can be learned from it."""
        if not requests:
            return []
        together = answer_candidates(self.ensemble, requests, answers, self.top_k)
        return [
            self._apart(request, answer) if isinstance(one, str) else one
            for request, answer, one in zip(requests, answers, together, strict=True)
        ]

    def _apart(self, request: Request, answer: Sequence[int]) -> Candidates | str:
        """A question by itself: what is not finite in another one may have reached it."""
        (together,) = answer_candidates(self.ensemble, [request], [answer], self.top_k)
        if not isinstance(together, str):
            return together
        for number, wording in enumerate(request.wordings, start=1):
            alone = replace(request, wordings=(wording,))
            (one,) = answer_candidates(self.ensemble, [alone], [answer], self.top_k)
            if isinstance(one, str):
                return f"Wording {number}: {one}"
        return together


def _row(
    question: Question, candidates: Candidates | None, error: str | None
) -> dict[str, object]:
    return {
        "uuid": question.uuid,
        "logprobs": None if candidates is None else list(candidates.logprobs),
        "starts": None if candidates is None else candidates.starts,
        "right": None if candidates is None else candidates.right,
        "error": error,
    }

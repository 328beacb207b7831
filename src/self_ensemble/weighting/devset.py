"""A small labelled set of questions, asked in order to learn weights from it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from self_ensemble.asking.request import Request
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question
from self_ensemble.running.batches import BatchProgress, run_batches
from self_ensemble.running.choice import WordingChoice, make_request
from self_ensemble.running.finite_rows import ENOUGH, nothing_finite
from self_ensemble.weighting.candidates import TOP_K, Candidates, answer_candidates
from self_ensemble.weighting.targets import Target

MAX_QUESTIONS = 200


@dataclass(frozen=True, slots=True)
class DevSet:
    """What the wordings predict for the right answers of a dev set.

    Attributes:
        questions: The questions that could be asked, in order.
        candidates: One entry for each of them.
        left_out: Why the others could not be asked, by uuid.
    """

    questions: tuple[Question, ...]
    candidates: tuple[Candidates, ...]
    left_out: dict[str, str]


def ask_dev_set(
    ensemble: Ensemble,
    questions: Sequence[Question],
    choice: WordingChoice,
    target: Target,
    *,
    batch_size: int,
    may_shrink: bool = False,
    on_batch: Callable[[BatchProgress], None] = lambda progress: None,
    top_k: int = TOP_K,
) -> DevSet:
    """Feed every wording of every question the first of the accepted answers.

    Args:
        ensemble: An ensemble with a logit-level method.
        questions: The dev set.
        choice: Which wordings.
        target: Token ids of an answer; see `targets`.
        batch_size: Questions per batch.
        may_shrink: Whether a batch that does not fit into memory is tried at half the size.
        on_batch: Called after each batch.
        top_k: Most probable tokens that are kept of each wording at each position.

    Raises:
        Stopped: By a signal.
        UserError: No question can be asked.
    """
    left_out: dict[str, str] = {}
    found: dict[str, Candidates] = {}
    not_finite: dict[str, str] = {}

    def run_batch(batch: Sequence[Question]) -> BatchProgress:
        started = time.perf_counter()
        requests: list[Request] = []
        answers: list[tuple[int, ...]] = []
        for question in batch:
            try:
                request = _checked_request(ensemble, question, choice)
            except UserError as error:
                left_out[question.uuid] = str(error)
            else:
                requests.append(request)
                answers.append(target(question.answer_texts[0]))
        if requests:
            for request, one in zip(
                requests, _learnable(ensemble, requests, answers, top_k), strict=True
            ):
                if isinstance(one, str):
                    not_finite[request.key] = left_out[request.key] = one
                else:
                    found[request.key] = one
        if not found and len(not_finite) >= ENOUGH:
            raise nothing_finite("learn-weights", not_finite)
        num_errors = sum(question.uuid in left_out for question in batch)
        return BatchProgress(len(batch), num_errors, time.perf_counter() - started)

    run_batches(
        questions, run_batch, batch_size=batch_size, may_shrink=may_shrink, on_batch=on_batch
    )
    if not found and left_out:
        uuid, reason = next(iter(left_out.items()))
        raise UserError(f"No question of the dev set can be asked. Row {uuid!r}: {reason}")
    return DevSet(
        tuple(question for question in questions if question.uuid in found),
        tuple(found[question.uuid] for question in questions if question.uuid in found),
        left_out,
    )


def _learnable(
    ensemble: Ensemble, requests: Sequence[Request], answers: Sequence[Sequence[int]], top_k: int
) -> list[Candidates | str]:
    """What each question predicts, or why nothing can be learned from it."""
    together = answer_candidates(ensemble, requests, answers, top_k)
    return [
        _apart(ensemble, request, answer, top_k) if isinstance(one, str) else one
        for request, answer, one in zip(requests, answers, together, strict=True)
    ]


def _apart(
    ensemble: Ensemble, request: Request, answer: Sequence[int], top_k: int
) -> Candidates | str:
    """A question by itself: what is not finite in another one may have reached it."""
    (together,) = answer_candidates(ensemble, [request], [answer], top_k)
    if not isinstance(together, str):
        return together
    for number, wording in enumerate(request.wordings, start=1):
        alone = replace(request, wordings=(wording,))
        (one,) = answer_candidates(ensemble, [alone], [answer], top_k)
        if isinstance(one, str):
            return f"Wording {number}: {one}"
    return together


def _checked_request(ensemble: Ensemble, question: Question, choice: WordingChoice) -> Request:
    request = make_request(question, choice, None, None)
    ensemble.check(request)
    if not any(text.strip() for text in question.answer_texts[:1]):
        raise UserError("The first accepted answer is no text, so nothing can be learned from it.")
    return request

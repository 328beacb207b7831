"""From a batch of questions to confidences: every wording is explored once, for all estimators."""

import math
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from self_ensemble.asking.exploring import Explored
from self_ensemble.asking.request import Answer, Request, Unanswered
from self_ensemble.confidence.estimators import ESTIMATORS, Evidence
from self_ensemble.confidence.self_report import TOO_LONG, TrueOrFalse
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.schema import CONFIDENCE_SCHEMA
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.choice import WordingChoice, make_request
from self_ensemble.running.made_with import about
from self_ensemble.running.making import About, BatchRows, FileRows, Order
from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma
from self_ensemble.walking.sampling import Sampling


class _Seen(NamedTuple):
    """What was seen of one wording.

    Attributes:
        explored: Its continuations.
        p_true: Probability that its answer is true, or why there is none; nan where not asked.
    """

    explored: Explored
    p_true: float | str

    def error(self, estimator: str) -> str | None:
        """Why this wording has no confidence by an estimator."""
        if isinstance(self.explored.greedy, Unanswered):
            return self.explored.greedy.error
        if estimator == "p_true" and isinstance(self.p_true, str):
            return self.p_true
        samples = self.explored.samples if estimator == "sampling" else ()
        return next((one.error for one in samples if isinstance(one, Unanswered)), None)

    def evidence(self) -> Evidence:
        """The same for the estimators."""
        greedy = self.explored.greedy
        assert isinstance(greedy, Answer)  # see `error`
        samples = [one for one in self.explored.samples if isinstance(one, Answer)]
        return Evidence(
            greedy=greedy,
            greedy_lemma=predict_lemma(greedy.text),
            sample_lemmas=[predict_lemma(answer.text) for answer in samples],
            first_logits=self.explored.first_logits,
            p_true=math.nan if isinstance(self.p_true, str) else self.p_true,
        )


class ConfidenceMaker:
    """A maker of confidences."""

    def __init__(
        self,
        ensemble: Ensemble,
        choice: WordingChoice,
        question_set: QuestionSet,
        num_samples: int,
        sampling: Sampling,
    ) -> None:
        """Prepare.

        Args:
            ensemble: The model with the data set's prompt.
            choice: Which wordings.
            question_set: Instruction, examples and framing; its questions are not looked at.
            num_samples: Sampled answers per wording, S; not drawn where no file needs them.
            sampling: How they are sampled.
        """
        self.ensemble = ensemble
        self.choice = choice
        self.question_set = question_set
        self.num_samples = num_samples
        self.sampling = sampling
        self._true_or_false: TrueOrFalse | None = None

    @property
    def about(self) -> About:
        """What it is made of."""
        return about(self.ensemble, self.question_set)

    @property
    def counters(self) -> Mapping[str, int]:
        """Work done so far, the questions about P(true) included."""
        work = Counter(asdict(self.ensemble.counters))
        if self._true_or_false is not None:
            work.update(asdict(self._true_or_false.ensemble.counters))
        return dict(work)

    def make(self, batch: Sequence[Question], order: Order) -> BatchRows:
        """Explore the wordings of some questions, for the estimators that the order names.

        Raises:
            UserError: P(true) is asked, and the vocabulary does not tell true from false.
        """
        started = time.perf_counter()
        if "p_true" in order.files and self._true_or_false is None:
            self._true_or_false = TrueOrFalse(self.ensemble.model)
        requests: dict[str, Request] = {}
        errors: dict[str, str] = {}
        for question in batch:
            try:
                request = make_request(question, self.choice, None, None)
                self.ensemble.check(request)
                requests[question.uuid] = request
            except UserError as error:
                errors[question.uuid] = str(error)
        seen = self._explore(list(requests.values()), order.files)
        failed = set(errors)
        files: dict[str, FileRows] = {}
        for name in order.files:
            rows: list[dict[str, object]] = []
            not_finite: dict[str, str] = {}
            for question in batch:
                found = seen.get(question.uuid)
                if found is None:
                    rows += self._error_rows(question, errors[question.uuid])
                    continue
                rows += self._rows(question, requests[question.uuid], found, name)
                reasons = [reason for one in found if (reason := one.error(name))]
                if reasons and reasons[0] != TOO_LONG:
                    not_finite[question.uuid] = reasons[0]
            files[name] = FileRows.of(rows, CONFIDENCE_SCHEMA, not_finite)
            failed |= not_finite.keys()
        done = BatchProgress(len(batch), len(failed), time.perf_counter() - started)
        return BatchRows(files, done)

    def give_up(self, question: Question, reason: str, order: Order) -> BatchRows:
        """Error rows for a question that is not asked any more."""
        rows = FileRows.of(self._error_rows(question, reason), CONFIDENCE_SCHEMA)
        return BatchRows(dict.fromkeys(order.files, rows), BatchProgress(1, 1, 0.0))

    def _explore(
        self, requests: Sequence[Request], estimators: Collection[str]
    ) -> dict[str, list[_Seen]]:
        """Of every wording its continuations and its P(true), by question.

        As many prompts as there are questions go through the model at once, so that a batch that
        does not fit into memory fits when it is halved.
        """
        prompts = [
            (request.key, Request(key=f"{request.key}\0{index}", wordings=(wording,)))
            for request in requests
            for index, wording in zip(self.choice.chosen(), request.wordings, strict=True)
        ]
        num_samples = self.num_samples if "sampling" in estimators else 0
        seen: list[Explored] = []
        at_once = max(len(requests), 1)
        for start in range(0, len(prompts), at_once):
            together = [prompt for _, prompt in prompts[start : start + at_once]]
            seen += self.ensemble.explore(together, num_samples, self.sampling)
        truths: dict[int, float | str] = {}
        if "p_true" in estimators:
            proposed = {n: x.greedy for n, x in enumerate(seen) if isinstance(x.greedy, Answer)}
            assert self._true_or_false is not None  # see `make`
            found_true = self._true_or_false.probabilities(
                [prompts[n][1].wordings[0] for n in proposed],
                [answer.text for answer in proposed.values()],
                at_once,
            )
            truths = dict(zip(proposed, found_true, strict=True))
        found: dict[str, list[_Seen]] = {}
        for n, ((uuid, _), one) in enumerate(zip(prompts, seen, strict=True)):
            found.setdefault(uuid, []).append(_Seen(one, truths.get(n, math.nan)))
        return found

    def _rows(
        self, question: Question, request: Request, found: Sequence[_Seen], estimator: str
    ) -> list[dict[str, object]]:
        errors = [one.error(estimator) for one in found]
        good = [n for n, error in enumerate(errors) if error is None]
        if estimator == "agreement" and len(good) < len(found):
            # Every wording is compared with all others.
            first = next(error for error in errors if error is not None)
            errors, good = [error or first for error in errors], []
        values = ESTIMATORS[estimator]([found[n].evidence() for n in good])
        confidences = dict(zip(good, values, strict=True))
        return [
            self._common(question, index, request.wordings[n])
            | _seen_columns(found[n], sampled=estimator == "sampling" and errors[n] is None)
            | {"confidence": confidences.get(n, math.nan), "error": errors[n]}
            for n, index in enumerate(self.choice.chosen())
        ]

    def _error_rows(self, question: Question, error: str) -> list[dict[str, object]]:
        wordings = dict(enumerate(question.wordings))
        return [
            self._common(question, index, wordings.get(index, ""))
            | _seen_columns(None, sampled=False)
            | {"confidence": math.nan, "error": error}
            for index in self.choice.chosen()
        ]

    def _common(self, question: Question, index: int, wording: str) -> dict[str, object]:
        frame = self.ensemble.frame
        return {
            "uuid": question.uuid,
            "paraphrase": wording,
            "paraphrase_index": index,
            "prompt": frame.wording.format(wording) + frame.cue_text,
            "answers": list(question.answers),
            "answer_lemmas": answer_lemmas(question.answers),
        }


def _seen_columns(seen: _Seen | None, *, sampled: bool) -> dict[str, object]:
    """The answers to one wording; empty where there are none."""
    if seen is None or not isinstance(seen.explored.greedy, Answer):
        empty = ("sample_predicts", "greedy_lemma", "sample_lemmas")
        return {"greedy_predict": None} | {name: [] for name in empty}
    evidence = seen.evidence()
    texts = [one.text for one in seen.explored.samples if isinstance(one, Answer)]
    return {
        "greedy_predict": evidence.greedy.text,
        "sample_predicts": texts if sampled else [],
        "greedy_lemma": list(evidence.greedy_lemma),
        "sample_lemmas": list(evidence.sample_lemmas) if sampled else [],
    }

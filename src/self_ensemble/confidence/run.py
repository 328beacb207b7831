"""A run over a data set: every wording is explored, every estimator writes its file."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from self_ensemble.asking.exploring import Explored
from self_ensemble.asking.request import Answer, Request, Unanswered
from self_ensemble.confidence.estimators import ESTIMATORS, Evidence
from self_ensemble.confidence.self_report import TOO_LONG, TrueOrFalse
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.choice import WordingChoice, make_request
from self_ensemble.running.finite_rows import FiniteRows, end_if
from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma
from self_ensemble.walking.choose import Sampling


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


@dataclass(frozen=True, slots=True)
class ConfidenceRun:
    """What every batch of a run shares.

    Attributes:
        ensemble: The model with the data set's prompt.
        choice: Which wordings.
        files: An open, unfinished file for each estimator.
        num_samples: Sampled answers per wording, S; not drawn where no file needs them.
        sampling: How they are sampled.
        true_or_false: Asks for P(true); None where no file needs it.
    """

    ensemble: Ensemble
    choice: WordingChoice
    files: dict[str, FiniteRows]
    num_samples: int
    sampling: Sampling
    true_or_false: TrueOrFalse | None

    def run_batch(self, batch: Sequence[Question]) -> BatchProgress:
        """Explore the wordings of a batch of questions and put the rows on disk."""
        started = time.perf_counter()
        requests: dict[str, Request] = {}
        errors: dict[str, str] = {}
        for question in batch:
            try:
                request = make_request(question, self.choice, None, None)
                self.ensemble.check(request)
                requests[question.uuid] = request
            except UserError as error:
                errors[question.uuid] = str(error)
        seen = self._explore(list(requests.values()))
        failed = set(errors)
        problems: list[UserError | None] = []
        for name, file in self.files.items():
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
            problems.append(file.append(rows, not_finite))
            failed |= not_finite.keys()
        end_if(problems)
        return BatchProgress(len(batch), len(failed), time.perf_counter() - started)

    def counters(self) -> dict[str, int]:
        """Work done so far, the questions about P(true) included."""
        work = Counter(asdict(self.ensemble.counters))
        if self.true_or_false is not None:
            work.update(asdict(self.true_or_false.ensemble.counters))
        return dict(work)

    def _explore(self, requests: Sequence[Request]) -> dict[str, list[_Seen]]:
        """Of every wording its continuations and its P(true), by question.

        As many prompts as there are questions go through the model at once, so that a batch that
        does not fit into memory fits when it is halved.
        """
        prompts = [
            (request.key, Request(key=f"{request.key}\0{index}", wordings=(wording,)))
            for request in requests
            for index, wording in zip(self.choice.chosen(), request.wordings, strict=True)
        ]
        num_samples = self.num_samples if "sampling" in self.files else 0
        seen: list[Explored] = []
        at_once = max(len(requests), 1)
        for start in range(0, len(prompts), at_once):
            together = [prompt for _, prompt in prompts[start : start + at_once]]
            seen += self.ensemble.explore(together, num_samples, self.sampling)
        truths: dict[int, float | str] = {}
        if self.true_or_false is not None:
            proposed = {n: x.greedy for n, x in enumerate(seen) if isinstance(x.greedy, Answer)}
            found_true = self.true_or_false.probabilities(
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

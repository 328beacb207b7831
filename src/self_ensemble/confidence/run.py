"""A run over a data set: every wording is explored, every estimator writes its file."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from self_ensemble.asking import Answer, Request
from self_ensemble.batches import BatchProgress
from self_ensemble.confidence.estimators import ESTIMATORS, Evidence
from self_ensemble.confidence.self_report import TrueOrFalse
from self_ensemble.decoding.choose import Sampling
from self_ensemble.ensemble import Ensemble, Explored
from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question
from self_ensemble.results.store import ResultFile
from self_ensemble.run import WordingChoice, make_request
from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma

TOO_LONG = "The question with its proposed answer is too long for the model to be asked about."


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
    files: dict[str, ResultFile]
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
        explored = self._explore(list(requests.values()))
        rows: dict[str, list[dict[str, object]]] = {name: [] for name in self.files}
        for question in batch:
            found = explored.get(question.uuid)
            for name in self.files:
                rows[name] += (
                    self._error_rows(question, errors[question.uuid])
                    if found is None
                    else self._rows(question, requests[question.uuid], found, name)
                )
        for name, file in self.files.items():
            file.append(rows[name])
        return BatchProgress(len(batch), len(errors), time.perf_counter() - started)

    def counters(self) -> dict[str, int]:
        """Work done so far, the questions about P(true) included."""
        work = Counter(asdict(self.ensemble.counters))
        if self.true_or_false is not None:
            work.update(asdict(self.true_or_false.ensemble.counters))
        return dict(work)

    def _explore(self, requests: Sequence[Request]) -> dict[str, list[tuple[Explored, float]]]:
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
        truths = [math.nan] * len(prompts)
        if self.true_or_false is not None:
            truths = self.true_or_false.probabilities(
                [prompt.wordings[0] for _, prompt in prompts],
                [_greedy(one).text for one in seen],
                at_once,
            )
        found: dict[str, list[tuple[Explored, float]]] = {}
        for (uuid, _), one, truth in zip(prompts, seen, truths, strict=True):
            found.setdefault(uuid, []).append((one, truth))
        return found

    def _rows(
        self,
        question: Question,
        request: Request,
        found: Sequence[tuple[Explored, float]],
        estimator: str,
    ) -> list[dict[str, object]]:
        evidence = [_evidence(one, truth) for one, truth in found]
        confidences = ESTIMATORS[estimator](evidence)
        sampled = estimator == "sampling"
        return [
            self._common(question, index, wording)
            | {
                "greedy_predict": seen.greedy.text,
                "sample_predicts": [answer.text for answer in one.samples] if sampled else [],
                "greedy_lemma": list(seen.greedy_lemma),
                "sample_lemmas": list(seen.sample_lemmas) if sampled else [],
                "confidence": confidence,
                "error": TOO_LONG if math.isnan(confidence) else None,
            }
            for index, wording, (one, _), seen, confidence in zip(
                self.choice.chosen(), request.wordings, found, evidence, confidences, strict=True
            )
        ]

    def _error_rows(self, question: Question, error: str) -> list[dict[str, object]]:
        wordings = dict(enumerate(question.wordings))
        return [
            self._common(question, index, wordings.get(index, ""))
            | {
                "greedy_predict": None,
                "sample_predicts": [],
                "greedy_lemma": [],
                "sample_lemmas": [],
                "confidence": math.nan,
                "error": error,
            }
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


def _evidence(explored: Explored, p_true: float) -> Evidence:
    return Evidence(
        greedy=_greedy(explored),
        greedy_lemma=predict_lemma(_greedy(explored).text),
        sample_lemmas=[predict_lemma(answer.text) for answer in explored.samples],
        first_logits=explored.first_logits,
        p_true=p_true,
    )


def _greedy(explored: Explored) -> Answer:
    assert explored.greedy is not None  # asked for in `_explore`
    return explored.greedy

"""Drawing wordings from a causal language model, round by round.

    round 1  style "end"     question 1: 3 samples   question 2: 3 samples  ...
    round 2  style "polite"  only questions whose pool is not full yet
    ...

The samples of a round go through the gate, are scored backwards, and go through the check. A pool
is full with twice as many candidates as are kept; once every style had its turn, further rounds
are for questions that have fewer than are kept. What is drawn for a question depends on the seed
and its uuid alone, so it is the same in every batch.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from self_ensemble.asking.isolation import REMEDY
from self_ensemble.asking.request import Answer, Request, Settings, Unanswered
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import LoadedModel
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.schema import Question
from self_ensemble.walking.sampling import Sampling
from self_ensemble.wordings.gate import Reason
from self_ensemble.wordings.pool import HUMAN, Candidate, Pool, Verdict
from self_ensemble.wordings.recovery import mean_logprobs
from self_ensemble.wordings.styles import PLAIN, STYLES, Prompt, is_cloze

MAX_NEW_TOKENS = 40
# Candidates below are refused as unlikely. Of 160 wordings of SmolLM2-135M-Instruct for
# WebQuestions, kept without this rule and read by eye, 18 lay below, and 17 of them were wrong.
MIN_QUALITY = -3.0


NO_RECOVERY = (
    f"The model gives nan or infinity where it leads a wording back to the original. {REMEDY}"
)


class Check(Protocol):
    """A meaning check; `reason` is what a wording that fails it is refused for."""

    reason: Reason

    def __call__(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict]:
        """Judge wordings, each with its question."""
        ...


class Rewriter:
    """Draws wordings of questions from one model."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        num: int,
        tries: int,
        sampling: Sampling,
        check: Check | None = None,
    ) -> None:
        """Prepare; prompts are encoded when they are first used.

        Args:
            model: The model that rewords.
            num: Wordings to be kept for each question.
            tries: Most rounds; each asks in another style.
            sampling: How samples are drawn.
            check: Meaning check.
        """
        self.model = model
        self.num = num
        self.tries = tries
        self.sampling = sampling
        self.check = check
        self.num_samples = max(2, -(-num // 2))
        self._ensembles: dict[tuple[str, bool], Ensemble] = {}

    @property
    def backend(self) -> str:
        """The attention backend that the model runs with."""
        return self._ensemble("", False, PLAIN.questions.reversed()).engine.backend_name

    def draw(self, questions: Sequence[Question]) -> list[Pool]:
        """Draw the pools of some questions, in their order."""
        pools = [Pool(question, error=self._problem(question)) for question in questions]
        for number in range(self.tries):
            enough = 2 * self.num if number < len(STYLES) else self.num
            lacking = [p for p in pools if p.error is None and len(p.passed) < enough]
            for cloze in (False, True):
                same_form = [pool for pool in lacking if is_cloze(pool.original) == cloze]
                if same_form:
                    self._round(number, cloze, same_form)
        return pools

    def _round(self, number: int, cloze: bool, pools: Sequence[Pool]) -> None:
        style = STYLES[number % len(STYLES)]
        prompt = style.clozes if cloze else style.questions
        ensemble = self._ensemble(style.name, cloze, prompt)
        requests = [
            Request(f"{pool.question.uuid}\0{style.name}\0{number}", (pool.original,))
            for pool in pools
        ]
        explored = ensemble.explore(requests, self.num_samples, self.sampling, greedy=False)
        admitted: list[tuple[Pool, Candidate]] = []
        for pool, found in zip(pools, explored, strict=True):
            failed = next((one for one in found.samples if isinstance(one, Unanswered)), None)
            if failed is not None:
                # What is drawn next depends on what was drawn, so nothing is.
                pool.fail(failed.error)
                continue
            for sample in found.samples:
                assert isinstance(sample, Answer)
                candidate = pool.admit(
                    Candidate(sample.text, style.name, sample.mean_logprob),
                    is_cut=sample.stop_reason == "length",
                )
                if candidate is not None:
                    admitted.append((pool, candidate))
        likely: list[tuple[Pool, Candidate]] = []
        for pool, candidate in self._with_recovery(admitted, cloze):
            if not math.isfinite(candidate.quality):
                pool.fail(NO_RECOVERY)
            elif candidate.quality < MIN_QUALITY:
                pool.refuse(candidate, "unlikely")
            else:
                likely.append((pool, candidate))
        keep_checked(likely, self.check)

    def _with_recovery(
        self, admitted: Sequence[tuple[Pool, Candidate]], cloze: bool
    ) -> list[tuple[Pool, Candidate]]:
        plain = PLAIN.clozes if cloze else PLAIN.questions
        ensemble = self._ensemble("", cloze, plain.reversed())
        texts = [(candidate.text, pool.original) for pool, candidate in admitted]
        return [
            (pool, replace(candidate, recovery=recovery))
            for (pool, candidate), recovery in zip(
                admitted, mean_logprobs(ensemble, texts), strict=True
            )
        ]

    def _ensemble(self, name: str, cloze: bool, prompt: Prompt) -> Ensemble:
        if (name, cloze) not in self._ensembles:
            self._ensembles[name, cloze] = Ensemble(
                self.model,
                "origin",
                frame=plain_frame(
                    self.model.tokenizer, prompt.instruction, prompt.shots, prompt.framing
                ),
                settings=Settings(max_new_tokens=MAX_NEW_TOKENS),
            )
        return self._ensembles[name, cloze]

    def _problem(self, question: Question) -> str | None:
        """Why a question cannot be reworded in some style, or None."""
        if not question.wordings or not question.wordings[0].strip():
            return "The question has no original wording."
        cloze = is_cloze(question.wordings[0])
        for style in STYLES:
            prompt = style.clozes if cloze else style.questions
            request = Request(question.uuid, question.wordings[:1])
            problem = self._ensemble(style.name, cloze, prompt).problem(request)
            if problem is not None:
                return problem
        return None


def human_pools(questions: Sequence[Question], check: Check | None) -> list[Pool]:
    """Pass the wordings that came with the questions through gate and check."""
    pools = [Pool(question) for question in questions]
    admitted: list[tuple[Pool, Candidate]] = []
    for pool in pools:
        if not pool.question.wordings or not pool.original.strip():
            pool.error = "The question has no original wording."
            continue
        for text in pool.question.wordings[1:]:
            candidate = pool.admit(Candidate(text, HUMAN))
            if candidate is not None:
                admitted.append((pool, candidate))
    keep_checked(admitted, check)
    return pools


def keep_checked(admitted: Sequence[tuple[Pool, Candidate]], check: Check | None) -> None:
    """Enter admitted candidates into their pools, by the check's verdicts if there is one."""
    if check is None:
        for pool, candidate in admitted:
            pool.keep(candidate)
        return
    verdicts = check([(pool.question, candidate.text) for pool, candidate in admitted])
    for (pool, candidate), verdict in zip(admitted, verdicts, strict=True):
        if verdict.error is not None:
            pool.fail(verdict.error)
        elif verdict.passed:
            pool.keep(replace(candidate, check=verdict.note))
        else:
            pool.refuse(candidate, check.reason)

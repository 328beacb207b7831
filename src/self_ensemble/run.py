"""A run over a data set: batches in, rows on disk, resumable at any point."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Answer, Outcome, Request, Unanswered
from self_ensemble.batches import BatchProgress
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.finite_rows import FiniteRows, end_if
from self_ensemble.models.identity import identity_of, versions
from self_ensemble.prompts.tokens import PROMPT_TOKENS
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.manifest import IDENTITY
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.schema import PER_PROMPT_SCHEMA, RESULT_SCHEMA
from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma

# Answers do not depend on these: questions and model are compared by content, wherever they lie.
MAY_DIFFER = frozenset({"batch_size", "data_source", "paraphrases", "model", "model_revision"})


# The manifest's field that says which questions are asked.
QUESTIONS = "questions_sha256"


@dataclass(frozen=True, slots=True)
class WordingChoice:
    """Which wordings of a question are asked.

    Attributes:
        num_paraphrases: The first N wordings.
        indices: These wordings instead, in this order.
        manual_read_each_other: Whether wordings of the group "manual" read the earlier ones.
    """

    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    manual_read_each_other: bool = False

    @property
    def needed(self) -> int:
        """How many wordings a question must have; a number that a user may give without bound."""
        return self.num_paraphrases if self.indices is None else max(self.indices) + 1

    def chosen(self) -> tuple[int, ...]:
        return tuple(range(self.num_paraphrases)) if self.indices is None else self.indices

    def pick(self, wordings: Sequence[str]) -> tuple[str, ...]:
        """The chosen wordings of one question.

        Raises:
            UserError: The question has too few.
        """
        if len(wordings) < self.needed:
            raise UserError(
                f"{self.needed} wordings are asked for, the question has {len(wordings)}."
            )
        return tuple(wordings[index] for index in self.chosen())

    def readable(self, groups: Sequence[str]) -> tuple[tuple[int, int], ...]:
        """Pairs of chosen wordings of which the first may read the second."""
        if not self.manual_read_each_other or not groups:
            return ()
        manual = [n for n, index in enumerate(self.chosen()) if groups[index] == "manual"]
        return tuple((i, j) for i in manual for j in manual if j < i)


Weights = dict[str, tuple[float, ...]]


def original_request(question: Question) -> Request:
    """The original wording alone, which `origin` asks whatever else is asked."""
    return Request(key=question.uuid, wordings=question.wordings[:1])


def make_request(
    question: Question,
    choice: WordingChoice,
    weights: Weights | None,
    segment_weights: Weights | None,
) -> Request:
    """One question as the engine takes it.

    Raises:
        UserError: It has fewer wordings than asked for, or no accepted answer.
    """
    if not question.answers:
        raise UserError("The question has no accepted answer, so it could not be scored.")
    return Request(
        key=question.uuid,
        wordings=choice.pick(question.wordings),
        weights=None if weights is None else weights[question.uuid],
        segment_weights=None if segment_weights is None else segment_weights[question.uuid],
        readable=choice.readable(question.groups),
    )


def manifest_fields(
    ensemble: Ensemble, question_set: QuestionSet, options: dict[str, object]
) -> dict[str, object]:
    """What a result was made with; a change of any of it is refused on resume."""
    return {
        "model": ensemble.model.name,
        "model_revision": ensemble.model.revision,
        IDENTITY: identity_of(ensemble.model),
        "dtype": str(ensemble.model.dtype).removeprefix("torch."),
        "device": ensemble.model.device.type,
        "attention": ensemble.engine.backend_name,
        "dataset": question_set.name,
        "data_source": question_set.source,
        QUESTIONS: questions_sha256(question_set.questions),
        "prompt_tokens": PROMPT_TOKENS,
        "prompt_sha256": sha256_of(ensemble.frame.identity()),
        "prefix": ensemble.frame.prefix_text,
        **options,
        "versions": versions(ensemble.model),
    }


def questions_sha256(questions: Sequence[Question]) -> str:
    """What is asked, as a manifest has it."""
    return sha256_of([(q.uuid, q.wordings, q.answers, q.groups) for q in questions])


def row_plan(method: Method, question_set: QuestionSet, choice: WordingChoice) -> RowPlan:
    """The rows of a method's result file: one a question, or one a wording."""
    uuids = tuple(question.uuid for question in question_set.questions)
    if method.kind == "alone":
        return RowPlan(PER_PROMPT_SCHEMA, uuids, choice.chosen())
    return RowPlan(RESULT_SCHEMA, uuids)


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
    row = _RowMaker(ensemble, choice, seconds)
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
    row = _RowMaker(ensemble, choice, math.nan)
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


@dataclass(frozen=True, slots=True)
class _RowMaker:
    """Turns an answer, or the reason why there is none, into rows of a result file."""

    ensemble: Ensemble
    choice: WordingChoice
    seconds: float

    def rows(
        self, method: Method, question: Question, answer: Outcome | None, error: str | None
    ) -> Iterator[dict[str, object]]:
        chosen = (0,) if method.kind == "original" else self.choice.chosen()
        wordings = [question.wordings[i] for i in chosen if i < len(question.wordings)]
        frame = self.ensemble.frame
        common = {
            "uuid": question.uuid,
            "answers": list(question.answers),
            "paraphrases": wordings,
            "prompts": [frame.wording.format(wording) + frame.cue_text for wording in wordings],
            "answer_lemmas": answer_lemmas(question.answers),
            "backend": self.ensemble.engine.backend_name,
        }
        if method.kind != "alone":
            yield common | _outcome(answer, error, self.seconds)
            return
        for place, index in enumerate(chosen):
            member = None if answer is None else answer.members[place]
            yield (
                common
                | _outcome(member, error, self.seconds / len(chosen))
                | {
                    "paraphrase": wordings[place] if place < len(wordings) else "",
                    "paraphrase_index": index,
                }
            )


def _outcome(found: Outcome | None, error: str | None, seconds: float) -> dict[str, object]:
    """What came of a question; the error is why it could not be asked."""
    if not isinstance(found, Answer):
        return {
            "prediction": None,
            "generation": None,
            "predict_lemma": [],
            "token_ids": [],
            "num_tokens": 0,
            "mean_logprob": math.nan,
            "seconds": math.nan,
            "stop_reason": "error",
            "error": error if found is None else found.error,
        }
    return {
        "prediction": found.text,
        "generation": found.generation,
        "predict_lemma": predict_lemma(found.text),
        "token_ids": list(found.token_ids),
        "num_tokens": len(found.token_ids),
        "mean_logprob": found.mean_logprob,
        "seconds": seconds,
        "stop_reason": found.stop_reason,
        "error": None,
    }


def sha256_of(value: object) -> str:
    """Hash of a JSON-able value, in hex."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def fewest_wordings_message(question_set: QuestionSet, choice: WordingChoice) -> str | None:
    """Why not a single question has the wordings asked for, or None."""
    needed = choice.needed
    most = max((len(question.wordings) for question in question_set.questions), default=0)
    if most >= needed:
        return None
    remedy = (
        "Give wordings with --paraphrases FILE, or ask one alone with --num-paraphrases 1."
        if most <= 1
        else f"Use --num-paraphrases {most} or fewer."
    )
    return (
        f"{needed} wordings are asked for, but no question of {question_set.name} has more "
        f"than {most}. {remedy}"
    )

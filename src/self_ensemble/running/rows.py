"""The rows of a result file: what they are, and what comes of a question."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Answer, Outcome
from self_ensemble.attribution.kinds import kinds_among
from self_ensemble.ensemble import Ensemble
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.schema import PER_PROMPT_SCHEMA, RESULT_SCHEMA, with_attribution
from self_ensemble.running.choice import WordingChoice
from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma


def row_plan(
    method: Method,
    question_set: QuestionSet,
    choice: WordingChoice,
    attribution: Sequence[str] = (),
) -> RowPlan:
    """The rows of a method's result file: one a question, or one a wording."""
    uuids = tuple(question.uuid for question in question_set.questions)
    schema = row_schema(method, attribution)
    return RowPlan(schema, uuids, choice.chosen() if method.kind == "alone" else None)


def row_schema(method: Method, attribution: Sequence[str] = ()) -> pa.Schema:
    """The columns of a method's result file, with those of some kinds of attribution."""
    schema = PER_PROMPT_SCHEMA if method.kind == "alone" else RESULT_SCHEMA
    return with_attribution(schema, kinds_among(attribution, method))


@dataclass(frozen=True, slots=True)
class RowMaker:
    """Turns an answer, or the reason why there is none, into rows of a result file."""

    ensemble: Ensemble
    choice: WordingChoice
    seconds: float

    def rows(
        self,
        method: Method,
        question: Question,
        answer: Outcome | None,
        error: str | None,
        tokens: Sequence[int | None] = (),
    ) -> Iterator[dict[str, object]]:
        """The rows of a question; `tokens` as `TokenCount.of` counts them, where it is asked."""
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
            (count,) = tokens or (None,)
            yield common | outcome_columns(answer, error, self.seconds, count)
            return
        for place, index in enumerate(chosen):
            member = None if answer is None else answer.members[place]
            count = tokens[place] if tokens else None
            yield (
                common
                | outcome_columns(member, error, self.seconds / len(chosen), count)
                | {
                    "paraphrase": wordings[place] if place < len(wordings) else "",
                    "paraphrase_index": index,
                }
            )


def outcome_columns(
    found: Outcome | None, error: str | None, seconds: float, tokens: int | None
) -> dict[str, object]:
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
            "tokens": None,
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
        "tokens": tokens,
        "stop_reason": found.stop_reason,
        "error": None,
    }

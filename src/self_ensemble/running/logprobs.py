"""What every wording predicts, kept so that it can be fused again without the model.

    first place    the K likeliest tokens of every wording and of the prompt without the question,
                   and the first tokens of accepted answers: their log-probability under each
                   wording, and how likely any other token can be at most
    every place    the K likeliest of each wording along its own greedy answer

B questions of a batch, N wordings, S = N + 1 streams: the wordings, then the prompt without the
question. V vocabulary, C tokens that are kept of the first place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from self_ensemble.asking.isolation import REMEDY
from self_ensemble.asking.layout import Streams
from self_ensemble.asking.request import Request
from self_ensemble.ensemble import Ensemble
from self_ensemble.passes.batch import advance
from self_ensemble.prompts.token_texts import token_text
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.schema import LOGPROBS_SCHEMA, PRIOR_INDEX
from self_ensemble.running.choice import WordingChoice
from self_ensemble.running.making import FileRows
from self_ensemble.walking.choose import most_probable
from self_ensemble.walking.fusion import MIN_LOGPROB, entropies
from self_ensemble.walking.stopping import StopRule

NOT_FINITE = f"The model gives nan or infinity for a wording or for a token of it. {REMEDY}"
NOTHING_KEPT: dict[str, object] = {
    "answer_ids": [], "first_ids": [], "first_texts": [], "first_logprobs": [],
    "first_bound": float("nan"), "first_rest": float("nan"), "first_gap": float("nan"),
    "first_entropy": float("nan"), "token_ids": [], "step_ids": [], "step_logprobs": [],
    "step_rest": [],
}  # fmt: skip


def logprob_plan(question_set: QuestionSet, choice: WordingChoice) -> RowPlan:
    """The rows of the file: one a wording, and one of the prompt without the question."""
    uuids = tuple(question.uuid for question in question_set.questions)
    return RowPlan(LOGPROBS_SCHEMA, uuids, (*choice.chosen(), PRIOR_INDEX))


@dataclass(frozen=True, slots=True)
class LogprobMaker:
    """Makes rows of `LOGPROBS_SCHEMA`.

    Attributes:
        ensemble: The model; its methods are not looked at.
        choice: Which wordings.
        top_k: K.
        target: Token ids of an answer; see `weighting.targets`.
    """

    ensemble: Ensemble
    choice: WordingChoice
    top_k: int
    target: Callable[[str], tuple[int, ...]]
    _texts: dict[int, str] = field(default_factory=dict)

    def rows(
        self,
        batch: Sequence[Question],
        requests: Mapping[str, Request],
        errors: Mapping[str, str],
    ) -> FileRows:
        """The rows of some questions.

        Args:
            batch: The questions.
            requests: How those are asked that can be, by uuid.
            errors: Why the others cannot be, by uuid.
        """
        asked = [question for question in batch if question.uuid in requests]
        kept = self._kept(asked, requests)
        not_finite = {uuid: NOT_FINITE for uuid, one in kept.items() if one is None}
        rows = [
            row
            for question in batch
            for row in self._rows(
                question, kept.get(question.uuid), {**errors, **not_finite}.get(question.uuid)
            )
        ]
        return FileRows.of(rows, LOGPROBS_SCHEMA, not_finite)

    def _kept(
        self, asked: Sequence[Question], requests: Mapping[str, Request]
    ) -> dict[str, list[dict[str, object]] | None]:
        """What is kept of each question, stream by stream; None where a score is not finite."""
        if not asked:
            return {}
        found = dict(zip((one.uuid for one in asked), self._of(asked, requests), strict=True))
        for question in asked if len(asked) > 1 else ():
            # What is not finite in another question may have reached it.
            if found[question.uuid] is None:
                (found[question.uuid],) = self._of([question], requests)
        return found

    @torch.inference_mode()
    def _of(
        self, asked: Sequence[Question], requests: Mapping[str, Request]
    ) -> list[list[dict[str, object]] | None]:
        together = [requests[question.uuid] for question in asked]
        num_wordings = len(together[0].wordings)
        streams = Streams(fused=False, num_alone=num_wordings, prior=True)
        batch, frontier = self.ensemble.prefiller.prefill(together, (), streams)
        nodes_BS = torch.arange(len(frontier.rows_M)).reshape(len(asked), -1)
        answer_ids = [self._answer_ids(question) for question in asked]
        first = [
            first_columns(frontier.logits_of(nodes), ids, self.top_k)
            for nodes, ids in zip(nodes_BS, answer_ids, strict=True)
        ]
        walkers = [_Walker(node, []) for row in nodes_BS.tolist() for node in row[:num_wordings]]
        growing = walkers
        while growing:
            logits = frontier.logits_of(torch.tensor([walker.node for walker in growing]))
            for walker, step in zip(growing, _steps(logits, self.top_k), strict=True):
                walker.steps.append(step)
            growing = [walker for walker in growing if walker.goes_on(self.ensemble.stop)]
            if growing:
                nodes = torch.tensor([walker.node for walker in growing])
                tokens = torch.tensor([walker.token_ids[-1] for walker in growing])
                frontier, reached = advance(batch, frontier, nodes, tokens)
                for walker, node in zip(growing, reached.tolist(), strict=True):
                    walker.node = node
        found: list[list[dict[str, object]] | None] = []
        for place, rows in enumerate(first):
            mine = walkers[place * num_wordings : (place + 1) * num_wordings]
            if rows is None or not all(walker.is_finite for walker in mine):
                found.append(None)
                continue
            texts = [self._text(token) for token in rows[0]["first_ids"]]
            common = {"answer_ids": answer_ids[place], "first_texts": texts}
            walked = [*(walker.columns() for walker in mine), _Walker(0, []).columns()]
            found.append([common | row | more for row, more in zip(rows, walked, strict=True)])
        return found

    def _answer_ids(self, question: Question) -> list[int]:
        found = [self.target(text) for text in question.answer_texts if text.strip()]
        return list(dict.fromkeys(token_ids[0] for token_ids in found if token_ids))

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = token_text(self.ensemble.model.tokenizer, token)
        return self._texts[token]

    def _rows(
        self, question: Question, kept: list[dict[str, object]] | None, error: str | None
    ) -> list[dict[str, object]]:
        wordings = question.wordings
        indices = (*self.choice.chosen(), PRIOR_INDEX)
        return [
            {
                "uuid": question.uuid,
                "paraphrase_index": index,
                "paraphrase": wordings[index] if 0 <= index < len(wordings) else "",
                "answers": list(question.answers),
                "error": error,
            }
            | (NOTHING_KEPT if kept is None else kept[place])
            for place, index in enumerate(indices)
        ]


def first_columns(
    logits_SV: Tensor, answer_ids: Sequence[int], top_k: int
) -> list[dict[str, Any]] | None:
    """What is kept of a question's first place, stream by stream.

    Args:
        logits_SV: What its streams predict, the prompt without the question last.
        answer_ids: Tokens that are kept in any case.
        top_k: K.

    Returns:
        The columns of `LOGPROBS_SCHEMA` that begin with `first_`, but for the texts; None where a
        distribution is not finite.
    """
    logprobs = logits_SV.log_softmax(dim=-1)
    if not bool(logprobs.amax(dim=-1).isfinite().all()):
        return None
    best = logprobs.topk(min(top_k, logprobs.shape[-1]), dim=-1).indices
    ids = torch.unique(torch.cat([best.flatten(), best.new_tensor(answer_ids)]))
    others = logprobs.index_fill(1, ids, -torch.inf)
    # What both rule out is no gap: -inf + inf would be nan.
    possible = logprobs.clamp_min(MIN_LOGPROB)
    gaps = (possible - possible[-1]).index_fill(1, ids, -torch.inf)
    columns = {
        "first_logprobs": logprobs[:, ids].tolist(),
        "first_bound": others.amax(dim=-1).tolist(),
        "first_rest": others.logsumexp(dim=-1).tolist(),
        "first_gap": gaps.amax(dim=-1).tolist(),
        "first_entropy": entropies(logprobs).tolist(),
    }
    tokens = ids.tolist()
    return [
        {"first_ids": tokens} | {name: values[stream] for name, values in columns.items()}
        for stream in range(len(logprobs))
    ]


class _Step(NamedTuple):
    """The likeliest tokens of one place, falling, and all others together."""

    token_ids: list[int]
    logprobs: list[float]
    rest: float


@dataclass(slots=True)
class _Walker:
    """One wording on the way along its own greedy answer."""

    node: int
    steps: list[_Step]

    @property
    def token_ids(self) -> list[int]:
        return [step.token_ids[0] for step in self.steps]

    @property
    def is_finite(self) -> bool:
        return all(step.logprobs[0] > -torch.inf for step in self.steps)

    def goes_on(self, stop: StopRule) -> bool:
        return self.is_finite and stop.reason(self.token_ids) is None

    def columns(self) -> dict[str, object]:
        return {
            "token_ids": self.token_ids,
            "step_ids": [step.token_ids for step in self.steps],
            "step_logprobs": [step.logprobs for step in self.steps],
            "step_rest": [step.rest for step in self.steps],
        }


def _steps(logits_MV: Tensor, top_k: int) -> list[_Step]:
    """What is kept of each distribution; its first token is the greedy one."""
    logprobs = logits_MV.log_softmax(dim=-1)
    top, tokens = most_probable(logprobs, min(top_k, logprobs.shape[-1]))
    rest = logprobs.scatter(1, tokens, -torch.inf).logsumexp(dim=-1)
    kept = zip(tokens.tolist(), top.tolist(), rest.tolist(), strict=True)
    # nan is not above anything, so `is_finite` finds it as it finds -inf.
    return [_Step(*one) for one in kept]

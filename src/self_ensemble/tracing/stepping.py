"""From the logits behind a beginning of an answer to a step of the trace.

N wordings, S streams of a prefill, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from self_ensemble.asking.layout import Streams
from self_ensemble.asking.methods import Method
from self_ensemble.tracing.beginnings import Beginning, Tokens
from self_ensemble.tracing.distributions import TokenTexts, distributions
from self_ensemble.tracing.trace import Candidate, MethodStep, Step, Taken, WordingStep
from self_ensemble.tracing.why import Why, why_fused, why_tied
from self_ensemble.walking.stopping import StopRule


class Path(NamedTuple):
    """An answer as it was taken in the run.

    Attributes:
        method: The method that it is of.
        token_ids: Its tokens.
        logprobs: Their log-probabilities.
        why: How every token came about; None where that differs from step to step.
    """

    method: Method
    token_ids: Tokens
    logprobs: tuple[float, ...]
    why: Why | None


@dataclass(frozen=True, slots=True)
class Stepper:
    """Makes steps.

    Attributes:
        passes: The streams of each prefill.
        methods: The methods that fuse distributions.
        paths: The answers.
        weights_N: Weight of each wording, for rules that read them.
        segment_weights: Weight of each wording inside attention, `(N,)`.
        num_top: How many of the likeliest tokens are kept.
        texts: The tokens.
        stop: What the text of an answer is.
    """

    passes: Sequence[Streams]
    methods: Sequence[Method]
    paths: Sequence[Path]
    weights_N: Tensor
    segment_weights: Sequence[float]
    num_top: int
    texts: TokenTexts
    stop: StopRule

    def step(self, beginning: Beginning) -> Step:
        """What is said behind a beginning; how wordings go on from it is not known yet.

        Raises:
            UserError: A rule of the user's fails.
        """
        fused_V, alone_NV, prior_V = self._streams(beginning.logits)
        rows: list[Tensor] = [*alone_NV, *(() if prior_V is None else (prior_V,))]
        num_streams = len(rows)
        for method in self.methods:
            if method.kind == "fused":
                assert fused_V is not None
                rows.append(fused_V)
                continue
            assert method.rule is not None
            read = rows[: len(alone_NV) + int(method.reads_prior)]
            weights = self.weights_N.to(alone_NV.device)
            rows.append(method.rule(torch.stack(read)[None], weights[None])[0])
        found = [distributions(row[None], self.num_top, self.texts)[0] for row in rows]
        methods = tuple(
            MethodStep(method.name, one, *self._why(method, alone_NV, one.top))
            for method, one in zip(self.methods, found[num_streams:], strict=True)
        )
        num_wordings = len(alone_NV)
        return Step(
            answer=self.texts.together(beginning.answer),
            text=self.stop.text(beginning.answer) if beginning.answer else "",
            wordings=tuple(WordingStep(one, ()) for one in found[:num_wordings]),
            methods=methods,
            prior=None if prior_V is None else found[num_wordings],
            taken=tuple(self._taken(beginning.answer, {one.method: one for one in methods})),
        )

    def is_finite(self, beginning: Beginning) -> bool:
        """Whether all that the model predicts there is."""
        return all(bool(one.amax(dim=-1).isfinite().all()) for one in beginning.logits)

    def _streams(self, logits: Sequence[Tensor]) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """The fused stream, the wordings alone, the prompt without the question."""
        fused, alone, prior = None, None, None
        for streams, logits_SV in zip(self.passes, logits, strict=True):
            if streams.fused:
                fused = logits_SV[0]
            if streams.num_alone:
                alone = logits_SV[list(streams.alone)]
            if streams.prior:
                prior = logits_SV[-1]
        assert alone is not None
        return fused, alone, prior

    def _why(self, method: Method, alone_NV: Tensor, top: Sequence[Candidate]) -> Why:
        if method.kind == "fused":
            return why_fused(self.segment_weights)
        if not top:
            return Why("the rule makes nan or infinity of finite logits")
        return why_tied(method, alone_NV, self.weights_N, top[0].token.id)

    def _taken(self, answer: Tokens, methods: Mapping[str, MethodStep]) -> Iterator[Taken]:
        place = len(answer)
        for method, token_ids, logprobs, why in self.paths:
            if token_ids[:place] == answer and len(token_ids) > place:
                (token,) = self.texts.of(token_ids[place : place + 1])
                text = methods[method.name].why if why is None else why.text
                yield Taken(method.name, Candidate(token, logprobs[place]), text)

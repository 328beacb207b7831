"""A look into one question: the run's own answers, and what everything says on their way.

The answers come from the run itself. What wordings and methods say behind each beginning of them
is computed once more, by feeding them to all streams at once, so that a wording is seen behind an
answer that it would not have given.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from self_ensemble.asking.exploring import ALONE
from self_ensemble.asking.layout import (
    Streams,
    original_only,
    relative_weights,
    request_layouts,
    segment_weights,
)
from self_ensemble.asking.methods import Method
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Answer, Outcome, Request
from self_ensemble.asking.tracks import passes
from self_ensemble.attribution.attribute import OrderSampling, attribute_possible
from self_ensemble.attribution.kinds import Attribution, kinds_among
from self_ensemble.scoring.lemmas import simplemma_lemmatiser
from self_ensemble.scoring.scores import is_right
from self_ensemble.tracing.beginnings import Tokens, Walk, walk_along
from self_ensemble.tracing.distributions import TokenTexts
from self_ensemble.tracing.groups import groups_of
from self_ensemble.tracing.stepping import Path, Stepper
from self_ensemble.tracing.trace import Candidate, Group, Part, Step, Trace, TracedAnswer
from self_ensemble.tracing.why import Why, why_voted
from self_ensemble.walking.stopping import StopRule

Run = Callable[[Sequence[Request], Sequence[Method]], Mapping[str, list[Outcome]]]
NO_STEPS = (
    "The model gives nan or infinity somewhere in this question, which reaches all that is "
    "computed beside it, so no steps are shown. The errors of the answers say where."
)


@dataclass(frozen=True, slots=True)
class Tracer:
    """Looks into questions.

    Attributes:
        run: Answers questions.
        prefiller: Encodes them.
        stop: When an answer ends, and what its text is.
        num_top: How many of the likeliest tokens are kept at each step.
        num_ahead: Most tokens that a wording goes on with alone from a step.
        attribution: Kinds of attribution; each method has those that make sense for it.
    """

    run: Run
    prefiller: Prefiller
    stop: StopRule
    num_top: int
    num_ahead: int
    attribution: tuple[str, ...]

    def trace(self, request: Request, methods: Sequence[Method], accepted: Sequence[str]) -> Trace:
        """See `Ensemble.trace`."""
        if all(method.kind == "original" for method in methods):
            request = original_only(request)
        texts = TokenTexts(self.stop.tokenizer)
        settings, engine = self.prefiller.settings, self.prefiller.engine
        answers = {name: found[0] for name, found in self.run([request], methods).items()}
        temperature = settings.sampling.temperature
        paths = [_path(method, answers[method.name], temperature) for method in methods]
        steps = self._steps(request, methods, paths, texts)
        # All of the first answer, then what is new in the second, and so on.
        ordered = dict.fromkeys([(), *(one for path in paths for one in _beginnings(path))])
        numbers = {beginning: number for number, beginning in enumerate(ordered)}
        judge = _Judge(texts, accepted)
        notes = [] if steps else [NO_STEPS]
        attributions = tuple(self._attributions(request, methods, answers, notes))
        return Trace(
            key=request.key,
            model=engine.model.name,
            backend=engine.backend_name,
            wordings=request.wordings,
            accepted=tuple(accepted),
            positions=settings.positions,
            fusion_point=settings.fusion_point,
            temperature=temperature,
            num_ahead=self.num_ahead,
            parts=tuple(self._parts(request, methods, texts)),
            groups=self._groups(request, methods),
            steps=tuple(steps[one] for one in ordered) if steps else (),
            methods=tuple(
                judge.answer(
                    answers[path.method.name],
                    path.method.name,
                    None,
                    tuple(numbers[one] for one in _beginnings(path)) if steps else (),
                )
                for path in paths
            ),
            alone=tuple(
                judge.answer(found, ALONE.name, n)
                for n, found in enumerate(self._alone(request, answers))
            ),
            attributions=attributions,
            note=" ".join(notes) or None,
        )

    def _alone(self, request: Request, answers: Mapping[str, Outcome]) -> tuple[Outcome, ...]:
        """The answer of each wording alone; asked for where no method has asked for it."""
        for found in answers.values():
            if len(found.members) == len(request.wordings):
                return found.members
        return self.run([request], [ALONE])[ALONE.name][0].members

    def _attributions(
        self,
        request: Request,
        methods: Sequence[Method],
        answers: Mapping[str, Outcome],
        notes: list[str],
    ) -> Iterator[Attribution]:
        sampling = OrderSampling(seed=self.prefiller.settings.sampling.seed)
        for method in methods:
            kinds, answer = kinds_among(self.attribution, method), answers[method.name]
            if kinds and isinstance(answer, Answer):
                found, missing = attribute_possible(
                    self.prefiller, request, method, answer, kinds, sampling
                )
                yield from found.values()
                if missing is not None:
                    lacking = [kind for kind in kinds if kind not in found]
                    notes.append(f"No {', '.join(lacking)} for {method.name}: {missing}")

    def _steps(
        self,
        request: Request,
        methods: Sequence[Method],
        paths: Sequence[Path],
        texts: TokenTexts,
    ) -> dict[Tokens, Step]:
        """The step behind each beginning; nothing where one is not finite."""
        num_wordings = len(request.wordings)
        together = passes((*methods, ALONE), [request], self.prefiller.settings)
        streams = [Streams.of(some, num_wordings) for some in together]
        walks = [
            Walk(each, *self.prefiller.prefill([request], some, each))
            for each, some in zip(streams, together, strict=True)
        ]
        inside = any(each.fused for each in streams)
        stepper = Stepper(
            streams,
            [method for method in methods if not method.goes_alone],
            paths,
            torch.tensor(relative_weights(request.weights or (1.0,) * num_wordings)),
            segment_weights(request, self.prefiller.settings) if inside else (),
            self.num_top,
            texts,
            self.stop,
        )
        answers = [path.token_ids for path in paths]
        steps: dict[Tokens, Step] = {}
        ahead: dict[Tokens, tuple[list[int], ...]] = {}
        with torch.inference_mode():
            for beginning in walk_along(walks, answers, self.stop, self.num_ahead):
                if not stepper.is_finite(beginning):
                    return {}
                steps[beginning.answer] = stepper.step(beginning)
                ahead[beginning.answer] = beginning.ahead
        return {
            answer: replace(
                step,
                wordings=tuple(
                    replace(wording, ahead=texts.together(tokens))
                    for wording, tokens in zip(step.wordings, ahead[answer], strict=True)
                ),
            )
            for answer, step in steps.items()
        }

    def _parts(
        self, request: Request, methods: Sequence[Method], texts: TokenTexts
    ) -> Iterator[Part]:
        parts = self.prefiller.frame.parts(request.wordings)
        if parts.prefix:
            yield Part("prefix", None, texts.together(parts.prefix))
        for n, segment in enumerate(parts.segments):
            yield Part("wording", n, texts.together(segment))
        yield Part("cue", None, texts.together(parts.cue))
        if any(method.reads_prior for method in methods):
            yield Part("prior", None, texts.together(parts.without_question))

    def _groups(self, request: Request, methods: Sequence[Method]) -> tuple[Group, ...]:
        """The layout of the fused stream where there is one, else that of the others."""
        num_wordings = len(request.wordings)
        frame, settings = self.prefiller.frame, self.prefiller.settings
        some = passes((*methods, ALONE), [request], settings)[0]
        streams = Streams.of(some, num_wordings)
        (layout,) = request_layouts(
            [request], some, streams, frame, settings, self.prefiller.engine.model
        )
        return groups_of(layout, num_wordings, len(frame.parts(request.wordings).prefix))


@dataclass(frozen=True, slots=True)
class _Judge:
    """Makes answers of outcomes, and says which are right."""

    texts: TokenTexts
    accepted: Sequence[str]

    def answer(
        self, found: Outcome, method: str, wording: int | None, steps: tuple[int, ...] = ()
    ) -> TracedAnswer:
        if not isinstance(found, Answer):
            return TracedAnswer(method, wording, "", (), "error", found.error, None)
        right = None
        if self.accepted:
            right = is_right(found.text, self.accepted, simplemma_lemmatiser())
        tokens = tuple(
            Candidate(token, logprob)
            for token, logprob in zip(
                self.texts.together(found.token_ids), found.logprobs, strict=True
            )
        )
        return TracedAnswer(
            method, wording, found.text, tokens, found.stop_reason, None, right, steps
        )


def _path(method: Method, found: Outcome, temperature: float) -> Path:
    if not isinstance(found, Answer):
        return Path(method, (), (), None)
    why = None
    if method.kind == "vote":
        texts = [one.text if isinstance(one, Answer) else None for one in found.members]
        # The answer shown is one of them under the method's name.
        shown = replace(found, method=ALONE.name, members=())
        why = why_voted(texts, found.members.index(shown))
    elif temperature:
        why = Why(f"drawn at temperature {temperature:g}")
    elif method.goes_alone:
        why = Why("wording 1 alone", 0)
    return Path(method, found.token_ids, found.logprobs, why)


def _beginnings(path: Path) -> list[Tokens]:
    """The beginnings that an answer's tokens are taken behind."""
    return [path.token_ids[:length] for length in range(len(path.token_ids))]

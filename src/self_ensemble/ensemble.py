"""The main path: wordings -> prompt parts -> layout -> prefill -> decode -> answers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from self_ensemble.asking import Answer, Outcome, Request, Settings, Unanswered
from self_ensemble.decoding.batch import Batch, Frontier
from self_ensemble.decoding.captured import check_decode, check_model, decode_captured
from self_ensemble.decoding.choose import Sampling
from self_ensemble.decoding.engine import Counters, Engine
from self_ensemble.decoding.loop import Decoded, Track, decode
from self_ensemble.decoding.prefill import Prefix, encode_prefix, prefill
from self_ensemble.decoding.stopping import StopRule
from self_ensemble.decoding.user_rule import RuleError
from self_ensemble.errors import UserError
from self_ensemble.isolation import EVERY, PRIOR, Behind, Found, ask_apart, explore_apart, reason
from self_ensemble.methods import Method, resolve_method
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import choose_backend
from self_ensemble.packing.layout import build_layout
from self_ensemble.prompts.build import plain_frame
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.questions.schema import Framing
from self_ensemble.request_layout import (
    Streams,
    checked_parts,
    original_only,
    relative_weights,
    request_layouts,
)
from self_ensemble.scoring.normalise import first_line
from self_ensemble.scoring.vote import vote


class Explored(NamedTuple):
    """Many continuations of one prompt.

    Attributes:
        greedy: The greedy one, if asked for.
        samples: The sampled ones.
        first_logits: Logits of the first token, `(V,)`, float32, on the CPU; not finite where the
            model's are not.
    """

    greedy: Outcome | None
    samples: tuple[Outcome, ...]
    first_logits: torch.Tensor


AnyMethod = str | Method | Callable[..., object]


class Ensemble:
    """Asks one model a question in several wordings and fuses them into one answer.

    Example:
        >>> model = load_model("smollm2_135m_it")
        >>> ensemble = Ensemble(model, method="flex_attention")
        >>> print(ensemble.answer(["what is the capital of France?", "France's capital is?"]))
        Paris
    """

    def __init__(
        self,
        model: LoadedModel,
        method: AnyMethod | Sequence[AnyMethod] = "flex_attention",
        *,
        frame: PromptFrame | None = None,
        prefix: str = "",
        framing: Framing | None = None,
        settings: Settings | None = None,
        attention: str | None = None,
        decode: str = "tree",
    ) -> None:
        """Prepare an ensemble; the prefix is encoded when the first question comes.

        Args:
            model: A loaded model.
            method: A method's name, a fusion rule `(B, N, V), (B, N) -> (B, V)`, or several.
            frame: The prompt that questions are put into; None builds one from the next two.
            prefix: Text in front of every question: instruction and examples.
            framing: How a wording and the cue are written; "Q: ...", "A:" by default.
            settings: How answers are made.
            attention: Backend: sdpa, flex, eager or auto; None for the model's.
            decode: "tree": methods share what they have in common, and tokens of ended answers
                cost nothing. "captured": steps of fixed shape, which CUDA replays as graphs;
                greedy answers only. "compiled": the same, compiled first.

        Raises:
            UserError: An unknown method, backend or way to decode, or one that does not fit.
        """
        asked = [method] if isinstance(method, str | Method) or callable(method) else method
        self.methods = tuple(resolve_method(one) for one in asked)
        names = [one.name for one in self.methods]
        if len(set(names)) < len(names):
            raise UserError(f"Two methods have one name: {', '.join(names)}. Name them apart.")
        self.frame = frame or plain_frame(model.tokenizer, prefix, (), framing or Framing())
        self.settings = settings or Settings()
        self.model = model
        backend = choose_backend(attention or model.attention, model.model.config, model.device)
        check_decode(decode, self.settings.sampling)
        check_model(decode, model)
        self.decode = decode
        self.engine = Engine(model, backend)
        self._prefix: Prefix | None = None
        # Of prompts that were looked at after something was not finite: whether they are.
        self._finite: dict[tuple[object, ...], bool] = {}
        self.stop = StopRule(
            model.tokenizer,
            _eos_token_ids(model),
            self.settings.stop,
            self.settings.max_new_tokens,
        )

    @property
    def counters(self) -> Counters:
        """Work done so far: tokens through the model, forwards, masks."""
        return self.engine.counters

    def answer(self, wordings: Sequence[str], weights: Sequence[float] | None = None) -> Answer:
        """Answer one question asked in several wordings, with the first method.

        Raises:
            UserError: The question cannot be asked (see `problem`), weights are given that
                nothing reads, or a score on the way to the answer is nan or infinite.
        """
        if isinstance(wordings, str):
            raise UserError("Got one text. Give a list of wordings, with one entry or more.")
        return self.answer_many([wordings], None if weights is None else [weights])[0]

    def answer_many(
        self,
        questions: Sequence[Sequence[str]],
        weights: Sequence[Sequence[float]] | None = None,
        batch_size: int = 16,
    ) -> list[Answer]:
        """Answer many questions with the first method, in order.

        Raises:
            UserError: A question that cannot be asked (see `problem`), or one without an answer,
                because a score on the way to it is nan or infinite: the first of them. `run`
                gives the answers of the others as well.
        """
        if weights is not None and not self._reads_weights():
            raise UserError(
                f"Weights were given, but {self.methods[0].name!r} does not read them. Choose a "
                "weighted method, or Settings(segment_weights='given') for flex_attention."
            )
        requests = [
            Request(
                key=str(index),
                wordings=tuple(wordings),
                weights=None if weights is None else tuple(weights[index]),
                segment_weights=None if weights is None else tuple(weights[index]),
            )
            for index, wordings in enumerate(questions)
        ]
        answers: list[Answer] = []
        for start in range(0, len(requests), batch_size):
            for found in self.run(requests[start : start + batch_size])[self.methods[0].name]:
                if isinstance(found, Unanswered):
                    which = f"Question {len(answers) + 1}: " if len(requests) > 1 else ""
                    raise UserError(f"{which}{found.error}")
                answers.append(found)
        return answers

    def run(
        self, requests: Sequence[Request], methods: Sequence[Method] | None = None
    ) -> dict[str, list[Outcome]]:
        """Answer one batch of questions with every method, from one prefill.

        Args:
            requests: The questions.
            methods: Some of the ensemble's methods; None for all of them.

        Returns:
            For each method one answer per request, in order; `Unanswered` where a score on the
            way to it is nan or infinite, which does not touch the others.

        Raises:
            UserError: A question that cannot be asked (see `problem`), or a rule of the user's
                that fails.
        """
        asked = self.methods if methods is None else tuple(methods)
        answers: dict[str, dict[int, Outcome]] = {method.name: {} for method in asked}
        for size in sorted({len(request.wordings) for request in requests}):
            places = [i for i, request in enumerate(requests) if len(request.wordings) == size]
            same = [requests[place] for place in places]
            for together in self._passes(asked, same):
                for name, found in self._run_pass(together, same).items():
                    answers[name].update(zip(places, found, strict=True))
        return {
            name: [found[place] for place in range(len(requests))]
            for name, found in answers.items()
        }

    def explore(
        self,
        requests: Sequence[Request],
        num_samples: int,
        sampling: Sampling,
        *,
        greedy: bool = True,
    ) -> list[Explored]:
        """Continue prompts of one wording each in many ways; each prompt is encoded once.

        Samples that have taken the same tokens so far are one continuation, computed once, so
        this always walks the tree. What is drawn depends on the seed, the request's key and the
        number of the sample alone.

        Args:
            requests: Questions of one wording.
            num_samples: Sampled continuations of each, from 0.
            sampling: How they are sampled.
            greedy: Whether to add the greedy continuation.

        Raises:
            UserError: A question that cannot be asked; see `problem`.
        """
        assert all(len(request.wordings) == 1 for request in requests), "one wording each"
        if not requests:
            return []
        tracks = [Track("greedy", (0,), Sampling())] if greedy else []
        if num_samples:
            tracks.append(Track("samples", (0,) * num_samples, sampling))
        explored = explore_apart(self._continued, self._next_is_finite, tracks, requests)
        alone = Method("per_prompt", "alone")

        def outcomes(request: Request, decoded: Sequence[Decoded]) -> tuple[Outcome, ...]:
            return tuple(self._single(alone, request, one, 0) for one in decoded)

        return [
            Explored(
                outcomes(request, found["greedy"])[0] if greedy else None,
                outcomes(request, found["samples"]) if num_samples else (),
                first_logits,
            )
            for request, (found, first_logits) in zip(requests, explored, strict=True)
        ]

    def _continued(
        self, tracks: Sequence[Track], requests: Sequence[Request]
    ) -> list[tuple[dict[str, list[Decoded]], torch.Tensor]]:
        """Continue one wording each; of each request its answers by track, and first logits."""
        alone = (Method("per_prompt", "alone"),)
        batch, frontier = self._prefill(requests, alone, Streams(False, 1, False))
        first_logits = frontier.logits_MV.cpu()
        keys = [request.key for request in requests]
        weights = torch.ones(len(requests), 1)
        decoded = decode(batch, frontier, tracks, weights, keys, self.stop) if tracks else []
        return [
            (
                {t.name: rows[row] for t, rows in zip(tracks, decoded, strict=True)},
                first_logits[row],
            )
            for row in range(len(requests))
        ]

    def problem(self, request: Request, methods: Sequence[Method] | None = None) -> str | None:
        """Why a question cannot be asked, or None."""
        try:
            self.check(request, methods)
        except UserError as error:
            return str(error)
        return None

    def check(self, request: Request, methods: Sequence[Method] | None = None) -> None:
        """Refuse a question that cannot be asked with these methods (None: all of them).

        Raises:
            UserError: No wording or an empty one, weights that do not fit, or too long.
        """
        asked = self.methods if methods is None else methods
        checked_parts(request, asked, self.frame, self.settings, self.model.context_length)

    def prefix(self) -> Prefix:
        """The encoded prefix; encoded on first use, once per run."""
        if self._prefix is None:
            self._prefix = encode_prefix(self.engine, self.frame.prefix)
        return self._prefix

    def _reads_weights(self) -> bool:
        method = self.methods[0]
        inside = method.kind == "fused" and self.settings.segment_weights == "given"
        return inside or method.may_read_weights

    def _passes(
        self, asked: tuple[Method, ...], requests: Sequence[Request]
    ) -> list[tuple[Method, ...]]:
        """Methods that share a prefill.

        Wordings continued alone must not notice the others, so a layout in which wordings read
        each other or count positions through serves the fused stream only.
        """
        mixed = self.settings.positions == "contiguous" or any(r.readable for r in requests)
        if not mixed:
            return [asked]
        fused = tuple(method for method in asked if method.kind == "fused")
        others = tuple(method for method in asked if method.kind != "fused")
        return [methods for methods in (fused, others) if methods]

    def _run_pass(
        self, methods: Sequence[Method], requests: Sequence[Request]
    ) -> dict[str, list[Outcome]]:
        found = ask_apart(self._decoded, self._next_is_finite, methods, requests)
        return {
            method.name: [
                self._answer(method, request, decoded)
                for request, decoded in zip(requests, found[method.name], strict=True)
            ]
            for method in methods
        }

    def _decoded(
        self, methods: Sequence[Method], requests: Sequence[Request], first_answer: int
    ) -> Found:
        """Ask questions with as many wordings each; wordings alone are numbered from the last."""
        if all(method.kind == "original" for method in methods):
            requests = [original_only(request) for request in requests]
        num_wordings = len(requests[0].wordings)
        streams = Streams.of(methods, num_wordings)
        batch, frontier = self._prefill(requests, methods, streams)
        sampling = self.settings.sampling
        tracks = [
            Track(method.name, streams.of_rule(method), sampling, method.rule)
            for method in methods
            if method.kind == "tied"
        ]
        if streams.fused:
            tracks.append(Track("flex_attention", (0,), sampling))
        if any(method.kind in ("alone", "original", "vote") for method in methods):
            alone = Track("per_prompt", streams.alone, sampling, first_answer=first_answer)
            tracks.append(alone)
        weights = torch.tensor(
            [relative_weights(r.weights or (1.0,) * num_wordings) for r in requests]
        )
        keys = [request.key for request in requests]
        try:
            if self.decode == "tree":
                decoded = decode(batch, frontier, tracks, weights, keys, self.stop)
            else:
                decoded = decode_captured(
                    batch, frontier, tracks, weights, self.stop, compiled=self.decode == "compiled"
                )
        except RuleError as error:
            batch_of = f"{keys[0]} .. {keys[-1]}" if len(keys) > 1 else keys[0]
            raise UserError(
                f"{error} (batch of questions {batch_of}). What was done before is kept."
            ) from error
        by_track = {track.name: rows for track, rows in zip(tracks, decoded, strict=True)}
        return {
            method.name: [
                found[:1] if method.kind == "original" else list(found)
                for found in by_track[_track(method)]
            ]
            for method in methods
        }

    def _prefill(
        self, requests: Sequence[Request], methods: Sequence[Method], streams: Streams
    ) -> tuple[Batch, Frontier]:
        layouts = request_layouts(
            requests, methods, streams, self.frame, self.settings, self.model.context_length
        )
        return prefill(self.engine, layouts, self.prefix())

    def _next_is_finite(
        self, request: Request, behind: int | Behind, token_ids: Sequence[int]
    ) -> bool:
        """Whether the model's logits behind a prompt and an answer's tokens are finite."""
        parts = self.frame.parts(request.wordings)
        segments = (parts.segments[behind],) if isinstance(behind, int) else ()
        cue = parts.cue
        if behind == PRIOR:
            cue = parts.without_question
        elif behind == EVERY:
            cue = parts.cue[-1:]
        key = (parts.prefix, segments, cue, tuple(token_ids))
        if key not in self._finite:
            layout = build_layout(
                replace(parts, segments=segments, cue=(*cue, *token_ids), prior=None),
                fused=False,
                alone=(0 if segments else None,),
                num_prefix=len(parts.prefix),
            )
            _, frontier = prefill(self.engine, [layout], self.prefix())
            # The largest of logits with nan among them is nan.
            self._finite[key] = bool(frontier.logits_MV.amax().isfinite())
        return self._finite[key]

    def _answer(self, method: Method, request: Request, found: Sequence[Decoded]) -> Outcome:
        if method.kind in ("fused", "tied"):
            return self._single(method, request, found[0], None)
        members = tuple(
            self._single(method, request, decoded, wording)
            for wording, decoded in enumerate(found)
        )
        if method.kind == "original":
            return members[0]
        answers = [member for member in members if isinstance(member, Answer)]
        first = members[0]
        if method.kind == "vote" and len(answers) < len(members):
            first = next(member for member in members if isinstance(member, Unanswered))
        elif method.kind == "vote":
            winner = vote([a.text for a in answers], [a.mean_logprob for a in answers])
            first = answers[winner]
        named = tuple(replace(member, method="per_prompt") for member in members)
        return replace(first, method=method.name, members=named)

    def _single(
        self, method: Method, request: Request, decoded: Decoded, wording: int | None
    ) -> Outcome:
        if not decoded.is_finite:
            return Unanswered(
                method.name, reason(self._next_is_finite, method, request, decoded, wording)
            )
        return self._text(method.name, decoded)

    def _text(self, name: str, decoded: Decoded) -> Answer:
        generation = self.stop.text(decoded.token_ids)
        return Answer(
            method=name,
            text=first_line(generation),
            generation=generation,
            token_ids=tuple(decoded.token_ids),
            logprobs=tuple(decoded.logprobs),
            stop_reason=decoded.stop_reason or "length",
        )


def _track(method: Method) -> str:
    return method.name if method.kind in ("fused", "tied") else "per_prompt"


def _eos_token_ids(model: LoadedModel) -> frozenset[int]:
    configured = model.model.generation_config.eos_token_id
    if configured is None:
        configured = model.tokenizer.eos_token_id
    if configured is None:
        return frozenset()
    return frozenset([configured] if isinstance(configured, int) else configured)

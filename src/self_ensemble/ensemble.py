"""The main path: wordings -> prompt parts -> layout -> prefill -> decode -> answers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from self_ensemble.asking import Answer, Request, Settings
from self_ensemble.decoding.batch import Batch, Frontier
from self_ensemble.decoding.captured import check_decode, check_model, decode_captured
from self_ensemble.decoding.choose import Sampling
from self_ensemble.decoding.engine import Counters, Engine
from self_ensemble.decoding.loop import Decoded, Track, decode
from self_ensemble.decoding.prefill import Prefix, encode_prefix, prefill
from self_ensemble.decoding.stopping import StopRule
from self_ensemble.errors import UserError
from self_ensemble.methods import Method, resolve_method
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import choose_backend
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
        first_logits: Logits of the first token, `(V,)`, float32, on the CPU.
    """

    greedy: Answer | None
    samples: tuple[Answer, ...]
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
            UserError: The question cannot be asked (see `problem`), or weights are given that
                nothing reads.
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
            UserError: A question that cannot be asked; see `problem`.
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
            answers += self.run(requests[start : start + batch_size])[self.methods[0].name]
        return answers

    def run(
        self, requests: Sequence[Request], methods: Sequence[Method] | None = None
    ) -> dict[str, list[Answer]]:
        """Answer one batch of questions with every method, from one prefill.

        Args:
            requests: The questions.
            methods: Some of the ensemble's methods; None for all of them.

        Returns:
            For each method one answer per request, in order.

        Raises:
            UserError: A question that cannot be asked; see `problem`.
        """
        asked = self.methods if methods is None else tuple(methods)
        answers: dict[str, dict[int, Answer]] = {method.name: {} for method in asked}
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
        alone = (Method("per_prompt", "alone"),)
        batch, frontier = self._prefill(requests, alone, Streams(False, 1, False))
        tracks = [Track("greedy", (0,), Sampling())] if greedy else []
        if num_samples:
            tracks.append(Track("samples", (0,) * num_samples, sampling))
        first_logits = frontier.logits_MV.cpu()
        keys = [request.key for request in requests]
        weights = torch.ones(len(requests), 1)
        decoded = decode(batch, frontier, tracks, weights, keys, self.stop) if tracks else []
        by_track = {
            track.name: [[self._single(track.name, one) for one in found] for found in rows]
            for track, rows in zip(tracks, decoded, strict=True)
        }
        return [
            Explored(
                by_track["greedy"][row][0] if greedy else None,
                tuple(by_track["samples"][row]) if num_samples else (),
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
    ) -> dict[str, list[Answer]]:
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
            tracks.append(Track("per_prompt", streams.alone, sampling))
        weights = torch.tensor(
            [relative_weights(r.weights or (1.0,) * num_wordings) for r in requests]
        )
        keys = [request.key for request in requests]
        if self.decode == "tree":
            decoded = decode(batch, frontier, tracks, weights, keys, self.stop)
        else:
            decoded = decode_captured(
                batch, frontier, tracks, weights, self.stop, compiled=self.decode == "compiled"
            )
        by_track = {track.name: rows for track, rows in zip(tracks, decoded, strict=True)}
        return {
            method.name: [self._answer(method, found) for found in by_track[_track(method)]]
            for method in methods
        }

    def _prefill(
        self, requests: Sequence[Request], methods: Sequence[Method], streams: Streams
    ) -> tuple[Batch, Frontier]:
        layouts = request_layouts(
            requests, methods, streams, self.frame, self.settings, self.model.context_length
        )
        return prefill(self.engine, layouts, self.prefix())

    def _answer(self, method: Method, found: Sequence[Decoded]) -> Answer:
        if method.kind in ("fused", "tied"):
            return self._single(method.name, found[0])
        members = tuple(self._single("per_prompt", decoded) for decoded in found)
        if method.kind == "original":
            return replace(members[0], method=method.name)
        winner = 0
        if method.kind == "vote":
            winner = vote([m.text for m in members], [m.mean_logprob for m in members])
        return replace(members[winner], method=method.name, members=members)

    def _single(self, name: str, decoded: Decoded) -> Answer:
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

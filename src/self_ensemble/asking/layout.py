"""From a request to a layout: what is refused, which weights count, which streams are laid out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Request, Settings
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import why_no_longer
from self_ensemble.packing.layout import Layout, build_layout
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.prompts.parts import PromptParts, num_common_front


@dataclass(frozen=True, slots=True)
class Streams:
    """Which continuations of a question some methods need from one prefill.

    Attributes:
        fused: Whether one reads every wording.
        num_alone: How many wordings are continued alone, from the first.
        prior: Whether the prompt without the question is continued.
    """

    fused: bool
    num_alone: int
    prior: bool

    @classmethod
    def of(cls, methods: Sequence[Method], num_wordings: int) -> "Streams":
        """Those that the methods need."""
        kinds = {method.kind for method in methods}
        num_alone = num_wordings if kinds - {"fused", "original"} else int("original" in kinds)
        return cls("fused" in kinds, num_alone, any(method.reads_prior for method in methods))

    @property
    def alone(self) -> tuple[int, ...]:
        """Places of the wordings' own streams among the streams of a layout."""
        return tuple(range(int(self.fused), int(self.fused) + self.num_alone))

    def of_rule(self, method: Method) -> tuple[int, ...]:
        """Places of the streams that a tied method's rule reads."""
        prior = int(self.fused) + self.num_alone
        return (*self.alone, prior) if method.reads_prior else self.alone


def request_layouts(
    requests: Sequence[Request],
    methods: Sequence[Method],
    streams: Streams,
    frame: PromptFrame,
    settings: Settings,
    model: LoadedModel,
) -> list[Layout]:
    """Pack a batch of questions for the methods that share a prefill.

    Raises:
        UserError: See `checked_parts`.

    Frame and settings are those of requests that have none of their own.
    """
    parts = [checked_parts(one, methods, frame, settings, model) for one in requests]
    # Of a prompt of its own, what it has in common with the run's.
    num_prefix = min(num_common_front(frame.prefix, one.prefix) for one in parts)
    return [
        _layout(request, one, streams, request.settings or settings, num_prefix)
        for request, one in zip(requests, parts, strict=True)
    ]


def _layout(
    request: Request, parts: PromptParts, streams: Streams, settings: Settings, num_prefix: int
) -> Layout:
    mixed = streams.fused and not streams.num_alone
    positions = settings.positions if mixed else "aligned"
    readable = request.readable if mixed else ()
    return build_layout(
        parts,
        fused=streams.fused,
        alone=(*range(streams.num_alone), *((None,) if streams.prior else ())),
        segment_weights=segment_weights(request, settings) if streams.fused else None,
        positions=positions,
        fusion_point=settings.fusion_point,
        readable=readable,
        share=positions == "aligned" and not readable,
        num_prefix=num_prefix,
    )


def original_only(request: Request) -> Request:
    """The request with its original wording only, which then has all the weight."""
    return replace(
        request,
        wordings=request.wordings[:1],
        weights=None if request.weights is None else (1.0,),
        segment_weights=None if request.segment_weights is None else (1.0,),
        readable=(),
    )


def checked_parts(
    request: Request,
    methods: Sequence[Method],
    frame: PromptFrame,
    settings: Settings,
    model: LoadedModel,
) -> PromptParts:
    """A question's token ids, if it can be asked with these methods.

    Raises:
        UserError: No wording or an empty one, weights that do not fit, or too long.
    """
    if not request.wordings:
        raise UserError("The question has no wording. Give at least one.", "SE-0201")
    frame, settings = request.frame or frame, request.settings or settings
    _check_request_weights(request, methods, settings)
    parts = frame.parts(request.wordings)
    prior = [method.name for method in methods if method.reads_prior]
    if prior and not parts.without_question:
        raise UserError(
            f"Method {prior[0]!r} compares with the prompt without the question, and these "
            "wordings are whole prompts. Choose another method.",
            "SE-0503",
        )
    if not parts.cue and any(method.kind == "fused" for method in methods):
        raise UserError(
            "The wordings have no end in common that could read all of them. End all of them "
            "alike, for example with '\\nA:', or choose a method that fuses logits or answers.",
            "SE-0503",
        )
    spans = [len(segment) for segment in parts.segments]
    num_cues = 1
    if settings.positions == "contiguous" and any(method.kind == "fused" for method in methods):
        spans = [sum(spans)]
        num_cues = len(parts.segments) if settings.fusion_point == "last_segment" else 1
    length = len(parts.prefix) + max(spans) + num_cues * len(parts.cue)
    length += settings.max_new_tokens
    if model.context_length is not None and length > model.context_length:
        raise UserError(
            f"The prompt and {settings.max_new_tokens} new tokens take {length} positions; "
            f"{why_no_longer(model.model.config, model.context_length)}. "
            "Shorten the wording or use fewer shots.",
            "SE-0501",
        )
    return parts


def relative_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights as shares of the largest, which fit into float32 however large or small they are."""
    largest = max(weights)
    return tuple(weight / largest for weight in weights)


def _check_request_weights(
    request: Request, methods: Sequence[Method], settings: Settings
) -> None:
    weighted = [method.name for method in methods if method.needs_weights]
    if weighted and request.weights is None:
        raise UserError(
            f"Method {weighted[0]!r} needs weights, and question {request.key!r} has none. "
            "Give one per wording.",
            "SE-0602",
        )
    fused = any(method.kind == "fused" for method in methods)
    if fused and settings.segment_weights == "given" and request.segment_weights is None:
        raise UserError(
            f"Question {request.key!r} has no segment weights. Give one per wording.", "SE-0602"
        )
    for weights in (request.weights, request.segment_weights):
        if weights is not None:
            _check_weights(weights, len(request.wordings))


def _check_weights(weights: Sequence[float], num_wordings: int) -> None:
    if not weights:
        raise UserError(
            "The question has no weights: their source has none for a wording of it.", "SE-0602"
        )
    if len(weights) != num_wordings:
        raise UserError(
            f"Got {len(weights)} weights for {num_wordings} wordings. Pass one weight per "
            "wording.",
            "SE-0603",
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise UserError(
            f"Got weights {list(weights)}. Pass finite numbers from 0, at least one above 0.",
            "SE-0603",
        )


def segment_weights(request: Request, settings: Settings) -> Sequence[float]:
    """Weight of each wording inside attention, `(N,)`; 0 drops it."""
    num_wordings = len(request.wordings)
    if settings.segment_weights == "uniform":
        return [1.0 / num_wordings] * num_wordings
    if settings.segment_weights == "none":
        return [1.0] * num_wordings
    assert request.segment_weights is not None  # see checked_parts
    # To sum 1, as uniform ones do: one wording, whatever its weight, is plain generation.
    relative = relative_weights(request.segment_weights)
    return [weight / sum(relative) for weight in relative]

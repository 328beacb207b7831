"""Prompts on their way into the model: checked, laid out, encoded behind the run's prefix."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from self_ensemble.asking.isolation import EVERY, PRIOR, Behind
from self_ensemble.asking.layout import Streams, checked_parts, request_layouts
from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Request, Settings
from self_ensemble.packing.layout import Layout, build_layout
from self_ensemble.passes.batch import Batch, Frontier
from self_ensemble.passes.engine import Engine
from self_ensemble.passes.prefill import Prefix, encode_prefix, prefill
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.prompts.parts import num_common_front


@dataclass(slots=True)
class Prefiller:
    """Encodes the prompts of a run; the prefix once, when the first question comes.

    Attributes:
        engine: The model with its attention backend.
        frame: The prompt that questions are put into which have none of their own.
        settings: How answers are made of such as have none of their own.
    """

    engine: Engine
    frame: PromptFrame
    settings: Settings
    _prefix: Prefix | None = None
    # Of prompts that were looked at after something was not finite: whether they are.
    _finite: dict[tuple[object, ...], bool] = field(default_factory=dict)

    def check(self, request: Request, methods: Sequence[Method]) -> None:
        """Refuse a question that cannot be asked with these methods.

        Raises:
            UserError: No wording or an empty one, weights that do not fit, or too long.
        """
        checked_parts(request, methods, self.frame, self.settings, self.engine.model)

    def prefix(self) -> Prefix:
        """The encoded prefix."""
        if self._prefix is None:
            self._prefix = encode_prefix(self.engine, self.frame.prefix)
        return self._prefix

    def prefill(
        self, requests: Sequence[Request], methods: Sequence[Method], streams: Streams
    ) -> tuple[Batch, Frontier]:
        """Encode a batch of questions for the methods that share a pass.

        Raises:
            UserError: See `check`.
        """
        layouts = request_layouts(
            requests, methods, streams, self.frame, self.settings, self.engine.model
        )
        return prefill(self.engine, layouts, self.prefix())

    def next_is_finite(
        self, request: Request, behind: int | Behind, token_ids: Sequence[int]
    ) -> bool:
        """Whether the model's logits behind a prompt and an answer's tokens are finite.

        Args:
            request: The question.
            behind: Which prompt: that of a wording, or what others have in common.
            token_ids: The answer's tokens so far.
        """
        parts = (request.frame or self.frame).parts(request.wordings)
        num_prefix = num_common_front(self.frame.prefix, parts.prefix)
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
                num_prefix=num_prefix,
            )
            # Wordings that are whole prompts may have nothing in common.
            self._finite[key] = not layout.token_ids or self._is_finite(layout)
        return self._finite[key]

    def _is_finite(self, layout: Layout) -> bool:
        _, frontier = prefill(self.engine, [layout], self.prefix())
        # The largest of logits with nan among them is nan.
        return bool(frontier.logits_MV.amax().isfinite())

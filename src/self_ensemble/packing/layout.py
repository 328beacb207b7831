"""Where every token of a question stands: groups, positions, the visibility table, streams.

    group      0       1 .. N      N + 1          N + 2 ..
    tokens   prefix | segments | fused cue | cue of wording i | ...

The prefix is encoded once per run, so a layout lists the tokens behind it. A *stream* is one
continuation: the fused stream reads every segment, stream i reads wording i alone. Each stream
has a group of its own for its cue and for what it generates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from self_ensemble.packing.visibility import NEVER
from self_ensemble.prompts.parts import PromptParts

Positions = Literal["aligned", "contiguous"]
FusionPoint = Literal["cue", "last_segment"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One continuation to be decoded.

    Attributes:
        group: Group of the tokens it generates.
        predictor: Index in the layout of the token that predicts its first token.
        position: Position id of its first generated token.
    """

    group: int
    predictor: int
    position: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One question's packed prompt behind the prefix.

    Attributes:
        token_ids: Tokens of segments and cues, `(T,)`.
        groups: Group of each token, `(T,)`.
        positions: Position id of each token, `(T,)`.
        bias_GG: Visibility table: what is added to the attention score of a query group (row) on
            a key group (column); -inf forbids. The last group is padding: it reads the prefix
            and the first segment, and nobody reads it.
        fused: The stream that reads every segment, if asked for.
        alone: The streams that read one wording each, in the order asked for; one that reads no
            wording is the prompt without the question.
    """

    token_ids: tuple[int, ...]
    groups: tuple[int, ...]
    positions: tuple[int, ...]
    bias_GG: Tensor
    fused: Stream | None
    alone: tuple[Stream, ...]

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams: the fused one first."""
        return (*(() if self.fused is None else (self.fused,)), *self.alone)

    @property
    def padding_group(self) -> int:
        return self.bias_GG.shape[0] - 1


def build_layout(
    parts: PromptParts,
    *,
    fused: bool = True,
    alone: Sequence[int | None] = (),
    segment_weights: Sequence[float] | None = None,
    positions: Positions = "aligned",
    fusion_point: FusionPoint = "cue",
    readable: Sequence[tuple[int, int]] = (),
) -> Layout:
    """Pack one question.

    Args:
        parts: The question as token ids.
        fused: Whether to lay out the stream that reads every segment.
        alone: Indices of the wordings that are continued by themselves; None continues the
            prompt without any wording.
        segment_weights: Attention weight of each wording for the fused stream, `(N,)`; 0 drops
            it, as if it had not been given. None: 1 each, plain attention over all of them.
        positions: `aligned` starts every segment after the prefix, as if it were asked alone;
            `contiguous` counts through the packed sequence.
        fusion_point: `cue`: the cue reads every wording and predicts the first answer token.
            `last_segment`: the cue is part of each wording and the last wording predicts it.
        readable: Pairs (i, j): segment i may also read segment j, for j before i.

    Returns:
        The layout; its streams are ready to be decoded after one prefill.
    """
    assert positions == "aligned" or not alone, "a wording continued alone needs aligned positions"
    num_segments = len(parts.segments)
    fused_group = num_segments + 1
    weights = [1.0] * num_segments if segment_weights is None else segment_weights
    bias = _visibility_table(weights, alone, readable)

    tokens: list[int] = []
    groups: list[int] = []
    places: list[int] = []

    def place(part: Sequence[int], group: int, start: int) -> None:
        tokens.extend(part)
        groups.extend([group] * len(part))
        places.extend(range(start, start + len(part)))

    cue_in_segment = fusion_point == "last_segment"
    ends: list[tuple[int, int]] = []  # (index of the last token, position behind it)
    start = len(parts.prefix)
    for index, segment in enumerate(parts.segments):
        span = segment + parts.cue if cue_in_segment else segment
        place(span, index + 1, start)
        ends.append((len(tokens) - 1, places[-1] + 1))
        if positions == "contiguous" and weights[index] > 0:
            start = places[-1] + 1

    def cue(group: int, position: int) -> Stream:
        place(parts.cue, group, position)
        return Stream(group, len(tokens) - 1, places[-1] + 1)

    def stream(group: int, predictor: int, position: int) -> Stream:
        return Stream(group, predictor, position) if cue_in_segment else cue(group, position)

    def stream_alone(group: int, index: int | None) -> Stream:
        return cue(group, len(parts.prefix)) if index is None else stream(group, *ends[index])

    kept = [end for end, weight in zip(ends, weights, strict=True) if weight > 0]
    longest = max((position for _, position in kept), default=start)
    return Layout(
        # Streams are placed first, because placing a cue appends tokens.
        fused=stream(fused_group, kept[-1][0], longest) if fused else None,
        alone=tuple(stream_alone(fused_group + 1 + n, index) for n, index in enumerate(alone)),
        token_ids=tuple(tokens),
        groups=tuple(groups),
        positions=tuple(places),
        bias_GG=bias,
    )


def _visibility_table(
    weights: Sequence[float],
    alone: Sequence[int | None],
    readable: Sequence[tuple[int, int]],
) -> Tensor:
    """Prefix, segments, fused tail, tails alone, padding: what a row's group reads, `(G, G)`."""
    num_segments = len(weights)
    fused_group, padding_group = num_segments + 1, num_segments + 2 + len(alone)
    bias = torch.full((padding_group + 1, padding_group + 1), NEVER)
    bias[:, 0] = 0.0
    bias[range(padding_group), range(padding_group)] = 0.0
    bias[padding_group, 1] = 0.0
    for reader, read in readable:
        assert 0 <= read < reader < num_segments, "a segment may read earlier segments only"
        bias[reader + 1, read + 1] = 0.0
    for index, weight in enumerate(weights):
        bias[fused_group, index + 1] = math.log(weight) if weight > 0 else NEVER
    for n, wording in enumerate(alone):
        if wording is not None:
            bias[fused_group + 1 + n, wording + 1] = 0.0
    return bias

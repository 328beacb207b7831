"""Where every token of a question stands: groups, positions, the visibility table, streams.

    group      0       1 .. K      K + 1          K + 2 ..
    tokens   prefix | segments | fused cue | cue of wording i | ...

Segments are K = N runs, one per wording, or fewer tokens in more runs where wordings begin alike
(`packing/runs.py`). The prefix is encoded once for all questions, so a layout lists the tokens
behind it. A *stream* is one continuation: the fused stream reads every segment, stream i reads
wording i alone. Each stream has a group of its own for its cue and for what it generates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from self_ensemble.packing.runs import Run, separate_runs, shared_runs
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
        num_prefix: Tokens of the encoded prefix that it stands behind.
        token_ids: Tokens of segments and cues, `(T,)`, behind those of the prefix that are not
            encoded with the run's.
        groups: Group of each token, `(T,)`.
        positions: Position id of each token, `(T,)`.
        bias_GG: Visibility table: what is added to the attention score of a query group (row) on
            a key group (column); -inf forbids. The last group is padding: it reads the prefix
            and the first segment, and nobody reads it.
        wordings: Indices of the wordings that go through each segment group, `(K,)`: one each,
            or several where they share its tokens.
        fused: The stream that reads every segment, if asked for.
        alone: The streams that read one wording each, in the order asked for; one that reads no
            wording is the prompt without the question.
    """

    num_prefix: int
    token_ids: tuple[int, ...]
    groups: tuple[int, ...]
    positions: tuple[int, ...]
    bias_GG: Tensor
    wordings: tuple[tuple[int, ...], ...]
    fused: Stream | None
    alone: tuple[Stream, ...]

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams: the fused one first."""
        return (*(() if self.fused is None else (self.fused,)), *self.alone)

    @property
    def padding_group(self) -> int:
        return self.bias_GG.shape[0] - 1


def stacked_tables(layouts: Sequence[Layout]) -> Tensor:
    """The visibility tables of a batch, `(B, G, G)`; the last group is padding in all of them."""
    size = max(layout.bias_GG.shape[0] for layout in layouts)
    tables = torch.full((len(layouts), size, size), NEVER)
    for table, layout in zip(tables, layouts, strict=True):
        used = layout.padding_group
        table[:used, :used] = layout.bias_GG[:used, :used]
        table[-1, :used] = layout.bias_GG[used, :used]
    return tables


def build_layout(
    parts: PromptParts,
    *,
    fused: bool = True,
    alone: Sequence[int | None] = (),
    segment_weights: Sequence[float] | None = None,
    positions: Positions = "aligned",
    fusion_point: FusionPoint = "cue",
    readable: Sequence[tuple[int, int]] = (),
    share: bool = False,
    num_prefix: int | None = None,
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
        share: Whether the tokens that wordings begin with alike are laid out once. Every stream
            has the same logits either way. Not with `contiguous` or `readable`, where a wording's
            keys and values depend on its place.
        num_prefix: How many tokens of the prefix are encoded for the whole batch; the rest of
            them are laid out, readable by all as ever. None: all of them.

    Returns:
        The layout; its streams are ready to be decoded after one prefill.
    """
    assert positions == "aligned" or not alone, "a wording continued alone needs aligned positions"
    assert not share or (positions == "aligned" and not readable), "nothing to share"
    # Wordings that are whole prompts may have no end in common.
    cue_in_segment = fusion_point == "last_segment" or not parts.cue
    spans = [segment + parts.cue if cue_in_segment else segment for segment in parts.segments]
    runs = shared_runs(spans) if share else separate_runs(spans)
    weights = [1.0] * len(spans) if segment_weights is None else segment_weights
    fused_group = len(runs) + 1

    tokens: list[int] = []
    groups: list[int] = []
    places: list[int] = []

    def place(part: Sequence[int], group: int, start: int) -> None:
        tokens.extend(part)
        groups.extend([group] * len(part))
        places.extend(range(start, start + len(part)))

    num_encoded = len(parts.prefix) if num_prefix is None else num_prefix
    place(parts.prefix[num_encoded:], 0, num_encoded)
    start = len(parts.prefix)
    # Of each wording (index of its last token, position behind it); some have no token.
    ends = [(0, start)] * len(spans)
    for number, run in enumerate(runs, start=1):
        place(run.token_ids, number, start + run.start)
        for index in run.wordings:
            ends[index] = (len(tokens) - 1, places[-1] + 1)
        if positions == "contiguous" and weights[number - 1] > 0:
            start = places[-1] + 1

    def tail(part: Sequence[int], group: int, position: int) -> Stream:
        place(part, group, position)
        return Stream(group, len(tokens) - 1, places[-1] + 1)

    def stream(group: int, predictor: int, position: int) -> Stream:
        if cue_in_segment:
            return Stream(group, predictor, position)
        return tail(parts.cue, group, position)

    def stream_alone(group: int, index: int | None) -> Stream:
        if index is None:
            return tail(parts.without_question, group, len(parts.prefix))
        return stream(group, *ends[index])

    kept = [end for end, weight in zip(ends, weights, strict=True) if weight > 0]
    longest = max((position for _, position in kept), default=start)
    return Layout(
        # Streams are placed first, because placing a cue appends tokens.
        fused=stream(fused_group, kept[-1][0], longest) if fused else None,
        alone=tuple(stream_alone(fused_group + 1 + n, index) for n, index in enumerate(alone)),
        num_prefix=num_encoded,
        token_ids=tuple(tokens),
        groups=tuple(groups),
        positions=tuple(places),
        bias_GG=_visibility_table(runs, weights, alone, readable),
        wordings=tuple(run.wordings for run in runs),
    )


def _visibility_table(
    runs: Sequence[Run],
    weights: Sequence[float],
    alone: Sequence[int | None],
    readable: Sequence[tuple[int, int]],
) -> Tensor:
    """Prefix, runs, fused tail, tails alone, padding: what a row's group reads, `(G, G)`."""
    fused_group, padding_group = len(runs) + 1, len(runs) + 2 + len(alone)
    bias = torch.full((padding_group + 1, padding_group + 1), NEVER)
    bias[:, 0] = 0.0
    bias[range(padding_group), range(padding_group)] = 0.0
    bias[padding_group, 1] = 0.0
    for reader, read in readable:
        assert 0 <= read < reader < len(weights), "a segment may read earlier segments only"
        bias[reader + 1, read + 1] = 0.0
    for group, run in enumerate(runs, start=1):
        # Each wording's share of a token that several have in common: the shares add up.
        weight = sum(weights[index] for index in run.wordings)
        bias[fused_group, group] = math.log(weight) if weight > 0 else NEVER
        for child, other in enumerate(runs, start=1):
            if run.end <= other.start and set(other.wordings) <= set(run.wordings):
                bias[child, group] = 0.0
        for n, wording in enumerate(alone):
            if wording in run.wordings:
                bias[fused_group + 1 + n, group] = 0.0
    return bias

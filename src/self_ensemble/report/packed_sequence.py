"""A packed sequence as it is drawn: its parts from left to right, and who reads whom in it.

Whatever shows the mask, as text or as a picture, asks `bias_at`, which asks the same look-up as
the masks of the engine: `packing.visibility.read_bias`.

C columns of the packed sequence, R rows that are looked at, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from self_ensemble.packing.layout import Layout
from self_ensemble.packing.visibility import read_bias

SpanKind = Literal["prefix", "segment", "cue", "generated"]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of columns of one part of the packed sequence.

    Attributes:
        kind: Which part it is.
        name: What it is called in tables, for example "segment 2".
        group: Its row and column in the visibility table.
        start: Its first column.
        end: The column behind its last one.
        position: Position id of its first token; they count up by 1.
    """

    kind: SpanKind
    name: str
    group: int
    start: int
    end: int
    position: int


@dataclass(frozen=True, slots=True)
class PackedSequence:
    """All that is read in the fused stream: prefix, segments, cue and generated tokens.

    Attributes:
        spans: Its parts from left to right; together they are all columns.
        bias: The layout's visibility table, `(G, G)`.
        tail: Group of the cue and of generated tokens.
    """

    spans: tuple[Span, ...]
    bias: Tensor
    tail: int

    @property
    def num_columns(self) -> int:
        return self.spans[-1].end


def packed_sequence(layout: Layout, prefix_length: int, num_generated: int) -> PackedSequence:
    """Name the parts of a layout that has the fused stream and no other.

    Args:
        layout: The packed prompt behind the prefix.
        prefix_length: Tokens in front of it; may be 0.
        num_generated: Tokens behind it; may be 0.
    """
    assert layout.fused is not None
    assert not layout.alone
    tail = layout.fused.group
    spans = [Span("prefix", "prefix", 0, 0, prefix_length, 0)] if prefix_length else []
    start = 0
    for group, members in groupby(layout.groups):
        end = start + len(list(members))
        kind: SpanKind = "cue" if group == tail else "segment"
        name = "cue" if group == tail else f"segment {group}"
        columns = (prefix_length + start, prefix_length + end)
        spans.append(Span(kind, name, group, *columns, layout.positions[start]))
        start = end
    if num_generated:
        columns = (prefix_length + start, prefix_length + start + num_generated)
        spans.append(Span("generated", "generated", tail, *columns, layout.fused.position))
    return PackedSequence(tuple(spans), layout.bias_GG, tail)


def bias_at(sequence: PackedSequence, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """What is added to the score of each row's token on each column's, float32 `(R, C)`.

    0 is may read, log w is may read with weight w, -inf may not.
    """
    query, key = torch.tensor(rows), torch.tensor(columns)
    ends = torch.tensor([span.end for span in sequence.spans])
    groups = torch.tensor([span.group for span in sequence.spans])

    def group(order: Tensor) -> Tensor:
        return groups[torch.searchsorted(ends, order, right=True)]

    return read_bias(
        sequence.bias[None],
        torch.tensor(0),
        group(query)[:, None],
        group(key)[None, :],
        query[:, None],
        key[None, :],
    )

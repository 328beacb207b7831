"""Some wordings of a packed question instead of all: a row of the visibility table.

                  prefix  seg 1  seg 2  seg 3
    all             0     log w1 log w2 log w3       . = -inf, may not read
    without 2       0     log v1   .    log v3
    none            0       .      .      .

N wordings, G groups up to the last segment's, K segment groups.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from self_ensemble.packing.layout import Layout, Stream


def reading_row(layout: Layout, weights: Sequence[float]) -> Tensor:
    """What a tail reads that gives the wordings these weights, `(G,)`, G = 1 + K.

    Args:
        layout: A question's layout.
        weights: Attention weight of each wording, `(N,)`; 0 clears its column.
    """
    # A token that several wordings share has the sum of their weights.
    sums = [sum(weights[index] for index in wordings) for wordings in layout.wordings]
    return torch.cat([torch.zeros(1), torch.tensor(sums).log()])


def wording_shares(layout: Layout, weights: Sequence[float]) -> Tensor:
    """How what a tail reads of each segment group is divided among the wordings, `(K, N)`.

    Copies of shared tokens, one for each wording, would be read in proportion to the weights.
    """
    shares = torch.zeros(len(layout.wordings), len(weights))
    for group, wordings in enumerate(layout.wordings):
        total = sum(weights[index] for index in wordings)
        for index in wordings if total > 0 else ():
            shares[group, index] = weights[index] / total
    return shares


def streams_of_wordings(layout: Layout) -> tuple[Stream, ...]:
    """A stream at the end of each wording, `(N,)`, for what is predicted right behind it."""
    ends: dict[int, int] = {}
    for place, group in enumerate(layout.groups):
        if 1 <= group <= len(layout.wordings):
            ends |= dict.fromkeys(layout.wordings[group - 1], place)
    return tuple(
        Stream(layout.groups[place], place, layout.positions[place] + 1)
        for _, place in sorted(ends.items())
    )

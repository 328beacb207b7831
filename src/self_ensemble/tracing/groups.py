"""The packed sequence of a question as a list of its groups."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from self_ensemble.packing.layout import Layout, Stream
from self_ensemble.tracing.trace import Group


def groups_of(layout: Layout, num_wordings: int, num_prefix: int) -> tuple[Group, ...]:
    """The groups of a layout, from the prefix on; that of padding is left out.

    Args:
        layout: Its streams alone are those of all wordings, then the prompt without the question;
            or there are none of them, and every segment is a wording.
        num_wordings: How many wordings there are.
        num_prefix: Tokens of the question's prefix.
    """
    return tuple(_groups(layout, num_wordings, num_prefix))


def _groups(layout: Layout, num_wordings: int, num_prefix: int) -> Iterator[Group]:
    num_tokens = Counter(layout.groups)
    # The first of a group comes last, and stays.
    first = dict(zip(reversed(layout.groups), reversed(layout.positions), strict=True))

    def tail(
        stream: Stream, kind: Literal["fused", "alone", "prior"], wordings: tuple[int, ...]
    ) -> Group:
        # A tail without a cue of its own begins with what is generated.
        start = first.get(stream.group, stream.position)
        return Group(stream.group, kind, wordings, num_tokens[stream.group], start, None)

    if num_prefix:
        yield Group(0, "prefix", (), num_prefix, 0, _weight(layout, 0))
    for number, wordings in enumerate(layout.wordings, start=1):
        yield Group(
            number, "segment", wordings, num_tokens[number], first[number],
            _weight(layout, number),
        )  # fmt: skip
    if layout.fused is not None:
        yield tail(layout.fused, "fused", tuple(range(num_wordings)))
    for n, stream in enumerate(layout.alone[:num_wordings]):
        yield tail(stream, "alone", (n,))
    for stream in layout.alone[num_wordings:]:
        yield tail(stream, "prior", ())


def _weight(layout: Layout, number: int) -> float | None:
    if layout.fused is None:
        return None
    return math.exp(float(layout.bias_GG[layout.fused.group, number]))

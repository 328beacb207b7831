"""Random packed questions, and who may read whom in them, said a second time."""

import math
from dataclasses import dataclass

from hypothesis import strategies as st

from self_ensemble.packing.layout import Layout, build_layout
from self_ensemble.prompts.parts import PromptParts


@dataclass(frozen=True)
class Variant:
    """The arguments of `build_layout` but the question itself."""

    num_segments: int
    fused: bool
    alone: tuple[int | None, ...]  # None: the prompt without any wording
    weights: tuple[float, ...]
    positions: str
    fusion_point: str
    readable: tuple[tuple[int, int], ...]

    def layout(self, parts: PromptParts) -> Layout:
        return build_layout(
            parts,
            fused=self.fused,
            alone=self.alone,
            segment_weights=self.weights,
            positions=self.positions,
            fusion_point=self.fusion_point,
            readable=self.readable,
        )


def _spans(length: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.integers(1, length).map(lambda size: tuple(range(10, 10 + size)))


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    size = draw(st.integers(1, 4))
    alone = tuple(draw(st.lists(st.sampled_from([*range(size), None]), unique=True)))
    pairs = [(i, j) for i in range(size) for j in range(i)]
    weights = draw(
        st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=size, max_size=size).filter(any)
    )
    return Variant(
        size,
        fused=draw(st.booleans()) or not alone,
        alone=alone,
        weights=tuple(weights),
        positions="aligned" if alone else draw(st.sampled_from(["aligned", "contiguous"])),
        fusion_point=draw(st.sampled_from(["cue", "last_segment"])),
        readable=tuple(draw(st.sets(st.sampled_from(pairs)))) if pairs else (),
    )


@st.composite
def packed_batches(draw: st.DrawFn) -> tuple[Variant, list[PromptParts]]:
    """One to three questions of one run: the same prefix, cue and streams."""
    variant = draw(variants())
    prefix = tuple(range(draw(st.integers(0, 4))))
    cue = draw(_spans(3))
    questions = [
        PromptParts(prefix, tuple(draw(_spans(5)) for _ in range(variant.num_segments)), cue)
        for _ in range(draw(st.integers(1, 3)))
    ]
    return variant, questions


def owners(variant: Variant, parts: PromptParts) -> list[tuple[str, int | None]]:
    """Whose each packed token is: the prefix's, a segment's, the fused tail's, an own tail's.

    A stream without a wording has a cue of its own wherever the others have theirs.
    """
    cue = len(parts.cue)
    in_segment = variant.fusion_point == "last_segment"
    tokens = [("prefix", 0)] * len(parts.prefix)
    for n, segment in enumerate(parts.segments):
        tokens += [("segment", n)] * (len(segment) + (cue if in_segment else 0))
    if not in_segment and variant.fused:
        tokens += [("fused", 0)] * cue
    for wording in variant.alone:
        if wording is None or not in_segment:
            tokens += [("own", wording)] * cue
    return tokens


def attention_bias(
    variant: Variant, reader: tuple[str, int | None], read: tuple[str, int | None]
) -> float:
    """What a token adds to its score on an earlier token, from their owners."""
    if read[0] == "prefix" or reader == read:
        return 0.0
    if read[0] != "segment":
        return -math.inf
    if reader[0] == "fused":
        weight = variant.weights[read[1]]
        return math.log(weight) if weight > 0 else -math.inf
    if reader[0] == "own":
        return 0.0 if reader[1] == read[1] else -math.inf
    may = reader[0] == "segment" and (reader[1], read[1]) in variant.readable
    return 0.0 if may else -math.inf

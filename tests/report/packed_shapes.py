"""Packed sequences by their numbers of tokens, and who may read whom, said a second time."""

from dataclasses import dataclass

from hypothesis import strategies as st

from self_ensemble.packing.layout import build_layout
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.packed_sequence import PackedSequence, packed_sequence


@dataclass(frozen=True)
class Shape:
    """The numbers that a drawing is made from."""

    prefix: int
    lengths: tuple[int, ...]
    cue: int
    generated: int
    fusion_point: str = "cue"
    positions: str = "aligned"

    def sequence(self) -> PackedSequence:
        segments = tuple((0,) * length for length in self.lengths)
        layout = build_layout(
            PromptParts((0,) * self.prefix, segments, (0,) * self.cue),
            positions=self.positions,
            fusion_point=self.fusion_point,
        )
        return packed_sequence(layout, self.prefix, self.generated)

    def owners(self) -> list[str]:
        """The part that each column belongs to, by counting."""
        owners = ["prefix"] * self.prefix
        for number, length in enumerate(self.lengths, start=1):
            with_cue = self.cue if self.fusion_point == "last_segment" else 0
            owners += [f"segment {number}"] * (length + with_cue)
        if self.fusion_point == "cue":
            owners += ["tail"] * self.cue
        return owners + ["tail"] * self.generated


def _shapes(prefix: int, length: int, segments: int, generated: int) -> st.SearchStrategy[Shape]:
    return st.builds(
        Shape,
        prefix=st.integers(0, prefix),
        lengths=st.lists(st.integers(1, length), min_size=1, max_size=segments).map(tuple),
        cue=st.integers(1, 9),
        generated=st.integers(0, generated),
        fusion_point=st.sampled_from(["cue", "last_segment"]),
        positions=st.sampled_from(["aligned", "contiguous"]),
    )


shapes = _shapes(200, 90, 20, 40)
small_shapes = _shapes(20, 12, 6, 8)


def may_read(owners: list[str], reader: int, read: int) -> bool:
    if read > reader:
        return False
    if owners[read] == "prefix" or owners[reader] == "tail":
        return True
    return owners[read] == owners[reader]

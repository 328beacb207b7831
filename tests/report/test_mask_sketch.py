"""The sketch of a mask beside the look-up that the engine's masks are made of."""

import re
from itertools import pairwise

import pytest

from self_ensemble.packing.layout import build_layout
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.packed_sequence import bias_at, packed_sequence
from self_ensemble.report.results_page.mask_sketch import (
    mask_svg,
    read_weight,
    segment_weight,
    sketch_parts,
)


@pytest.mark.parametrize("fusion_point", ["cue", "last_segment"])
@pytest.mark.parametrize("prefix", [0, 3])
@pytest.mark.parametrize("num_wordings", [1, 2, 5])
@pytest.mark.parametrize("weights", ["uniform", "none"])
def test_it_is_the_rule_of_the_engine(fusion_point, prefix, num_wordings, weights):
    weight = segment_weight({"segment_weights": weights}, num_wordings)
    segments = tuple(tuple(range(2 + n)) for n in range(num_wordings))
    parts = PromptParts(tuple(range(prefix)), segments, (7, 8))
    layout = build_layout(
        parts, segment_weights=[weight] * num_wordings, fusion_point=fusion_point
    )
    sequence = packed_sequence(layout, prefix, 4)
    has_cue = fusion_point == "cue"
    drawn = sketch_parts("x" * prefix, ["w"] * num_wordings, "yes", has_cue=has_cue)
    assert [part.kind for part in drawn] == [span.kind for span in sequence.spans]
    for row, reader in enumerate(sequence.spans):
        for column, read in enumerate(sequence.spans[:row]):
            rows, columns = range(reader.start, reader.end), range(read.start, read.end)
            bias = bias_at(sequence, rows, columns).exp()
            expected = read_weight(drawn[row], drawn[column], weight)
            assert bias.flatten().tolist() == pytest.approx([expected] * bias.numel())


def test_weights_of_each_wording_are_not_known():
    assert segment_weight({"segment_weights": "logprob"}, 5) is None


def test_parts_fill_the_picture_whatever_their_lengths():
    for wordings in (["a" * 5000, "b"], ["", ""], ["a"] * 60):
        parts = sketch_parts("p" * 9000, wordings, "")
        svg = mask_svg(parts, 0.5, "what it shows")
        triangles = re.findall(r'<polygon class="reads \w+" points="([^"]*)"', svg)
        assert len(triangles) == len(parts)
        last = [float(number) for number in re.split("[ ,]", triangles[-1])]
        assert last[3] == pytest.approx(300, abs=0.3)
        heights = [float(number) for number in re.findall(r'<text [^>]*y="([\d.]+)"', svg)]
        gaps = [b - a for a, b in pairwise(heights)]
        assert min(gaps) > 4.9
        assert heights[-1] < max(300, 13 * len(parts))

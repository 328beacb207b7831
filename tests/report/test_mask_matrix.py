"""The mask that pictures are drawn from, against the rule written out as loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.errors import UserError
from self_ensemble.packing.layout import build_layout
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.mask_matrix import (
    check_size,
    count_pairs,
    mask_runs,
    mask_shades,
    shade_of,
)
from self_ensemble.report.packed_sequence import packed_sequence
from tests.report.packed_shapes import Shape, may_read, small_shapes


def unrolled(runs, size: int) -> list[list[float]]:
    """The weights of all entries, as the page's script reads them."""
    found = []
    for row in runs.rows:
        weights: list[float] = []
        for end, place in zip(row[::2], row[1::2], strict=True):
            weights += [runs.weights[place]] * (end - len(weights))
        found.append(weights + [0.0] * (size - len(weights)))
    return found


@given(small_shapes)
def test_runs_are_the_rule_at_every_entry(shape):
    owners, sequence = shape.owners(), shape.sequence()
    runs = mask_runs(sequence)
    read = [[w > 0 for w in row] for row in unrolled(runs, len(owners))]
    places = range(len(owners))
    assert read == [[may_read(owners, row, column) for column in places] for row in places]
    assert count_pairs(sequence) == sum(map(sum, read))


def test_only_the_tail_reads_with_the_weights():
    layout = build_layout(PromptParts((0,), ((0, 0), (0,)), (0,)), segment_weights=(0.75, 0.25))
    runs = mask_runs(packed_sequence(layout, 1, 1))
    assert runs.weights == (0.0, 0.25, 0.75, 1.0)
    assert unrolled(runs, 6) == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [1, 0.75, 0.75, 0.25, 1, 0],
        [1, 0.75, 0.75, 0.25, 1, 1],
    ]


@given(small_shapes, st.integers(1, 150))
def test_shades_are_means_so_that_no_token_is_left_out(shape, num_pixels):
    sequence = shape.sequence()
    size = sequence.num_columns
    weights = torch.tensor(unrolled(mask_runs(sequence), size))
    whole = np.array([[shade_of(float(w)) for w in row] for row in weights])
    found = mask_shades(sequence, num_pixels)
    pixels = min(num_pixels, size)
    assert found.shape == (pixels, pixels)
    edges = [pixel * size // pixels for pixel in range(pixels + 1)]
    for row, column in ((0, 0), (pixels - 1, 0), (pixels - 1, pixels // 2), (0, pixels - 1)):
        cell = whole[edges[row] : edges[row + 1], edges[column] : edges[column + 1]]
        assert found[row, column] == pytest.approx(cell.mean(), abs=1e-5)


def test_the_smallest_weight_is_seen():
    assert shade_of(0.0) == 0.0
    assert 0.3 < shade_of(1e-6) < shade_of(0.05) < shade_of(0.2) < shade_of(1.0) == 1.0


def test_what_is_too_long_for_a_picture_is_refused():
    sequence = Shape(prefix=200, lengths=(90,) * 90, cue=2, generated=3).sequence()
    with pytest.raises(UserError, match=r"Got 8,305 tokens; .* of at most 8,192\. Give shorter"):
        check_size(sequence)

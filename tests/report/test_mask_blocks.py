"""The blocks that are drawn and counted."""

import pytest

from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.flat_row import question_block_mask
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.mask_blocks import BlockTable, block_line, block_table, blocks_text


@pytest.fixture
def table() -> BlockTable:
    """A prefix of a block, two segments of a block each, a cue: 384 queries, 512 keys."""
    parts = PromptParts((0,) * 128, ((0,) * 128, (0,) * 128), (0, 0))
    layout = build_layout(parts)
    return block_table(
        question_block_mask(layout), name="this question", num_prefix=128, num_padding=126
    )


def test_segments_are_empty_to_each_other_and_the_prefix_is_full(table):
    # The last row: two tokens of the cue, and padding, which reads prefix and first segment.
    assert table.states == ((2, 1, 0, 0), (2, 0, 1, 0), (2, 2, 1, 1))
    assert table.saved == 4 / 12


def test_blocks_are_drawn_and_counted(table):
    assert blocks_text(table).splitlines() == [
        "BlockMask of this question: 384 queries (126 of them padding) x 512 keys (128 of the "
        "prefix before them)",
        "     0-127     \u25a0 \u25a4 \u00b7 \u00b7",
        "   128-255     \u25a0 \u00b7 \u25a4 \u00b7",
        "   256-383     \u25a0 \u25a0 \u25a4 \u25a4",
        "\u25a0 full  \u25a4 partial  \u00b7 empty",
        "12 blocks of 128 x 128: 4 full, 4 partial, 4 empty; 33 % of the work is saved",
    ]


def test_the_object_itself_says_the_same_share():
    parts = PromptParts((0,) * 300, ((0,) * 400, (0,) * 350, (0,) * 20), (0,))
    block_mask = question_block_mask(build_layout(parts))
    table = block_table(block_mask, name="x", num_prefix=300, num_padding=0)
    assert 100 * table.saved == pytest.approx(block_mask.sparsity(), abs=4)
    num_read = block_mask.kv_num_blocks.sum() + block_mask.full_kv_num_blocks.sum()
    assert table.count(1) + table.count(2) == num_read


def test_a_long_row_of_blocks_fits_120_columns():
    states = ((0,) * 64,) * 2
    table = BlockTable("x", states, (128, 128), 256, 8192, 0, 0)
    assert max(map(len, blocks_text(table).splitlines())) <= 120
    assert "100 % of the work is saved" in block_line(table)

"""The BlockMask that is drawn is the one that FlexAttention gets, and says what the mask says."""

import pytest
import torch
from asking import QUESTIONS, ensemble

from self_ensemble.packing.layout import build_layout
from self_ensemble.packing.visibility import NEVER, dense_bias
from self_ensemble.passes import attention
from self_ensemble.passes.flat_row import question_block_mask
from self_ensemble.passes.prefill import prefill
from self_ensemble.prompts.parts import PromptParts

BLOCK = 128


def dense(layout) -> torch.Tensor:
    """Who reads whom, `(T, P + T)`, from the additive mask of the other backends."""
    prefix = torch.zeros(1, layout.num_prefix, dtype=torch.long)
    groups = torch.tensor([layout.groups])
    order = layout.num_prefix + torch.arange(groups.shape[1])[None]
    keys = torch.cat([prefix, groups], dim=1)
    return dense_bias(layout.bias_GG[None], groups, keys, order)[0] > NEVER


def states(block_mask) -> torch.Tensor:
    """0 empty, 1 partial, 2 full, from the lists that the kernel walks."""
    rows, columns = (-(-length // BLOCK) for length in block_mask.seq_lengths)
    found = torch.zeros(rows, columns, dtype=torch.int)
    for state, counts, indices in (
        (1, block_mask.kv_num_blocks, block_mask.kv_indices),
        (2, block_mask.full_kv_num_blocks, block_mask.full_kv_indices),
    ):
        for row, (count, places) in enumerate(zip(counts[0, 0], indices[0, 0], strict=True)):
            found[row, places[:count]] = state
    return found


@pytest.mark.parametrize(
    ("family", "window"), [("llama", None), ("mistral", 8)], ids=["full", "window"]
)
@torch.inference_mode()
def test_flex_attention_gets_the_block_mask_of_the_layout(loaded, monkeypatch, family, window):
    given = []

    def kernel(query, key, value, *, block_mask, **_):
        given.append(block_mask)
        return torch.zeros_like(query)

    monkeypatch.setattr(attention, "_compiled_flex", lambda: kernel)
    asked = ensemble(loaded(family, sliding_window=window), attention="flex")
    layout = build_layout(asked.frame.parts(QUESTIONS[0]), segment_weights=(0.2, 0.5, 0.3))
    prefill(asked.engine, [layout], asked.prefix())
    drawn = question_block_mask(layout, window)
    assert len(given) == 3
    for one in given:
        assert one.seq_lengths == drawn.seq_lengths
        assert states(one).equal(states(drawn))
    assert layout.num_prefix > 0


@pytest.mark.parametrize("lengths", [(100, 60, 130), (300, 290), (7,)])
@pytest.mark.parametrize("prefix", [0, 128, 200])
def test_full_partial_and_empty_blocks_are_those_of_the_dense_mask(prefix, lengths):
    parts = PromptParts((0,) * prefix, tuple((0,) * length for length in lengths), (0, 0))
    layout = build_layout(parts)
    seen = dense(layout)
    found = states(question_block_mask(layout))
    for row in range(len(found)):
        for column in range(found.shape[1]):
            block = seen[BLOCK * row : BLOCK * (row + 1), BLOCK * column : BLOCK * (column + 1)]
            if len(block) < BLOCK or BLOCK * (column + 1) > seen.shape[1]:
                continue  # padding reads and is read otherwise
            assert found[row, column] == int(block.any()) + int(block.all())

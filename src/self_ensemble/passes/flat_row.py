"""Many questions in one row, as FlexAttention reads them in a prefill; the BlockMask of the row.

keys:     prefix | question 1 | question 2 | padding
queries:           question 1 | question 2 | padding
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from self_ensemble.packing.layout import Layout, stacked_tables
from self_ensemble.packing.visibility import FlatTokens, ScoreMod
from self_ensemble.passes.lengths import flat_bucket


def flat_row(
    bias_BGG: Tensor,
    rows_T: Tensor,
    groups_T: Tensor,
    positions_T: Tensor,
    *,
    padding_group: int,
    prefix_length: int,
) -> FlatTokens:
    """The row of a pass, up to a length of whole blocks.

    Args:
        bias_BGG: The visibility tables, `(B, G, G)`.
        rows_T: Question of each token, `(T,)`.
        groups_T: Group of each, `(T,)`.
        positions_T: Position id of each, `(T,)`.
        padding_group: Group of what is added; its question is the first.
        prefix_length: Keys of the prefix, in front.
    """
    more = (0, flat_bucket(len(rows_T)) - len(rows_T))
    return FlatTokens(
        bias_BGG,
        F.pad(rows_T, more),
        F.pad(groups_T, more, value=padding_group),
        F.pad(positions_T, more),
        prefix_length,
    )


def row_block_mask(
    flat: FlatTokens, window: int | None, softcap: float | None = None
) -> tuple[BlockMask, ScoreMod]:
    """FlexAttention's mask and score function for a row, on the device that it lies on."""
    mask_mod, score_mod = flat.mods(window, softcap)
    num_queries = len(flat.query_row_T)
    block_mask = create_block_mask(
        mask_mod, None, None, num_queries, flat.prefix_length + num_queries,
        device=str(flat.query_row_T.device),
    )  # fmt: skip
    return block_mask, score_mod


def question_block_mask(layout: Layout, window: int | None = None) -> BlockMask:
    """The BlockMask of a prefill of one question; what is to be read needs no model.

    Args:
        layout: The question.
        window: The sliding window of a layer that has one.
    """
    zeros = torch.zeros(len(layout.token_ids), dtype=torch.long)
    flat = flat_row(
        stacked_tables([layout]),
        zeros,
        torch.tensor(layout.groups),
        torch.tensor(layout.positions),
        padding_group=layout.padding_group,
        prefix_length=layout.num_prefix,
    )
    return row_block_mask(flat, window)[0]

"""Who may read whom in a packed ensemble, and how loudly.        ('#' = visible)

    prefix   # . | . . | . . | .        prefix of 2 tokens, two segments of 2,
             # # | . . | . . | .        one token of the fused tail
    seg 1    # # | # . | . . | .
             # # | # # | . . | .
    seg 2    # # | . . | # . | .
             # # | . . | # # | .
    fused    # # | # # | # # | #

Every token belongs to a *group*; a table says which group may read which. The table holds what
is added to the attention score: 0 for "may read", log w for "may read with weight w", -inf for
"may not". One look-up, `read_bias`, serves the dense mask, the FlexAttention functions and the
drawing of the mask.

B questions, G groups, R queries and S keys of one question, T tokens of all questions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

NEVER = float("-inf")


def read_bias(
    bias_BGG: Tensor,
    row: Tensor,
    query_group: Tensor,
    key_group: Tensor,
    query_order: Tensor,
    key_order: Tensor,
) -> Tensor:
    """What is added to the score of a query on a key; -inf where it may not read it.

    All arguments but the table broadcast against each other: whole index grids give a dense
    mask, scalar indices give one entry inside a FlexAttention kernel.

    Args:
        bias_BGG: The visibility table of each question, float, `(B, G, G)`.
        row: Which question the query belongs to.
        query_group: Group of the query.
        key_group: Group of the key.
        query_order: Place of the query in the packed sequence; a key after it is never read.
        key_order: Place of the key in the packed sequence.
    """
    return torch.where(query_order >= key_order, bias_BGG[row, query_group, key_group], NEVER)


def within_window(query_position: Tensor, key_position: Tensor, window: int) -> Tensor:
    """Whether a key lies in a sliding window, which counts positions and not packed places."""
    return query_position - key_position < window


def dense_bias(
    bias_BGG: Tensor,
    query_group_BR: Tensor,
    key_group_BS: Tensor,
    query_order_BR: Tensor,
) -> Tensor:
    """The additive attention mask of one forward pass, float32 `(B, R, S)`."""
    num_rows, num_keys = key_group_BS.shape
    rows = torch.arange(num_rows, device=bias_BGG.device)
    return read_bias(
        bias_BGG,
        rows[:, None, None],
        query_group_BR[:, :, None],
        key_group_BS[:, None, :],
        query_order_BR[:, :, None],
        torch.arange(num_keys, device=bias_BGG.device),
    )


MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class FlatTokens:
    """Many questions in one row: the prefix once, then every question's tokens.

    Attributes:
        bias_BGG: The visibility tables, `(B, G, G)`.
        query_row_T: Question of each new token, `(T,)`.
        query_group_T: Group of each new token, `(T,)`.
        query_position_T: Position of each new token, `(T,)`.
        prefix_length: Number of prefix keys in front of the new tokens' keys.
    """

    bias_BGG: Tensor
    query_row_T: Tensor
    query_group_T: Tensor
    query_position_T: Tensor
    prefix_length: int

    def to(self, device: torch.device) -> "FlatTokens":
        """The same row on another device, for a layer that lies there."""
        return replace(
            self,
            bias_BGG=self.bias_BGG.to(device),
            query_row_T=self.query_row_T.to(device),
            query_group_T=self.query_group_T.to(device),
            query_position_T=self.query_position_T.to(device),
        )

    def _keys(self) -> tuple[Tensor, Tensor, Tensor]:
        prefix = torch.arange(self.prefix_length, device=self.query_row_T.device)
        group_S = torch.cat([torch.zeros_like(prefix), self.query_group_T])
        row_S = torch.cat([torch.full_like(prefix, -1), self.query_row_T])
        return row_S, group_S, torch.cat([prefix, self.query_position_T])

    def mods(self, window: int | None, softcap: float | None) -> tuple[MaskMod, ScoreMod]:
        """FlexAttention's two functions for this row."""
        row_S, group_S, position_S = self._keys()
        bias_BGG, rows, groups = self.bias_BGG, self.query_row_T, self.query_group_T
        positions, prefix_length = self.query_position_T, self.prefix_length

        def bias(q_idx: Tensor, kv_idx: Tensor) -> Tensor:
            place = q_idx + prefix_length
            return read_bias(bias_BGG, rows[q_idx], groups[q_idx], group_S[kv_idx], place, kv_idx)

        def mask_mod(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
            same_row = rows[q_idx] == row_S[kv_idx]
            in_prefix = row_S[kv_idx] < 0
            visible = (same_row | in_prefix) & (bias(q_idx, kv_idx) > NEVER)
            if window is not None:
                visible = visible & within_window(positions[q_idx], position_S[kv_idx], window)
            return visible

        def score_mod(
            score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor
        ) -> Tensor:
            if softcap is not None:
                score = softcap * torch.tanh(score / softcap)
            return score + bias(q_idx, kv_idx)

        return mask_mod, score_mod

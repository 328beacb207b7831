"""Many tails behind one prompt, each with its own choice of what it reads, fed as they are.

The prompt is encoded once. A tail is a group of its own: a row of the visibility table says what
of the prompt it may read, and no tail reads another. Tails are forgotten after a pass, so memory
does not grow with their number.

G groups of the prompt, L tokens of a tail, T of them predicting, S tails, V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from self_ensemble.packing.visibility import NEVER
from self_ensemble.passes.batch import Batch

TOKENS_AT_ONCE = 512
LOGITS_AT_ONCE = 1 << 24  # values, 64 MB


class Tail(NamedTuple):
    """Tokens behind a prompt that are given, and what they may read.

    Attributes:
        token_ids: The tokens, `(L,)`.
        position: Position id of the first of them.
        bias_G: What is added to their scores on the prompt's groups, `(G,)`; -inf forbids.
    """

    token_ids: tuple[int, ...]
    position: int
    bias_G: Tensor


@torch.inference_mode()
def tail_logprobs(batch: Batch, tails: Sequence[Tail], targets: Sequence[int]) -> Tensor:
    """Log-probabilities of given tokens behind every tail.

    Args:
        batch: One prefilled question; it is left as it was.
        tails: Tails of one length.
        targets: The tokens that the last T tokens of each tail predict, `(T,)`.

    Returns:
        Their log-probabilities, float32 on the CPU, `(S, T)`.
    """
    if not targets:
        return torch.zeros(len(tails), 0)
    (length,) = {len(tail.token_ids) for tail in tails}
    vocabulary = int(batch.engine.model.model.config.get_text_config().vocab_size)
    num_logits = max(1, LOGITS_AT_ONCE // vocabulary)
    at_once = max(1, min(TOKENS_AT_ONCE // length, num_logits // len(targets)))
    found = [
        _chunk(batch, tails[start : start + at_once], targets, num_logits)
        for start in range(0, len(tails), at_once)
    ]
    return torch.cat(found)


def _chunk(batch: Batch, tails: Sequence[Tail], targets: Sequence[int], num_logits: int) -> Tensor:
    """Some tails, piece by piece, with so many logits at once, and then forgotten."""
    length, num_tails = len(tails[0].token_ids), len(tails)
    used, num_groups = batch.used_B, batch.num_groups_B
    groups_S = _open_groups(batch, [tail.bias_G for tail in tails])
    tokens_SL = torch.tensor([tail.token_ids for tail in tails])
    positions_SL = torch.tensor([tail.position for tail in tails])[:, None] + torch.arange(length)
    columns, size = [], max(1, num_logits // num_tails)
    for start in range(0, length, size):
        end = min(start + size, length)
        width = end - start
        # Of the target that the token of a column predicts.
        first = start - (length - len(targets))
        predicting = [column for column in range(width) if first + column >= 0]
        logits = batch.feed(
            tokens_SL[:, start:end].flatten(),
            torch.zeros(num_tails * width, dtype=torch.long),
            groups_S.repeat_interleave(width),
            positions_SL[:, start:end].flatten(),
            [tail * width + column for tail in range(num_tails) for column in predicting],
        )
        batch.engine.counters.prompt_tokens += num_tails * width
        if predicting:
            wanted = torch.tensor(targets[first + predicting[0] : first + width])
            scores = logits.view(num_tails, len(predicting), -1)
            places = wanted.to(logits.device).expand(num_tails, -1)[..., None]
            chosen = scores.gather(-1, places)[..., 0]
            columns.append((chosen - scores.logsumexp(dim=-1)).cpu())
    _forget(batch, used, num_groups)
    return torch.cat(columns, dim=1)


def _open_groups(batch: Batch, rows: Sequence[Tensor]) -> Tensor:
    """New groups that read themselves and what their rows say of the prompt's, `(S,)`."""
    first = int(batch.num_groups_B[0])
    groups = first + torch.arange(len(rows))
    batch.num_groups_B = batch.num_groups_B + len(rows)
    more = int(batch.num_groups_B[0]) - batch.bias_BGG.shape[1]
    if more > 0:
        pad = torch.nn.functional.pad
        batch.bias_BGG = pad(batch.bias_BGG, (0, more, 0, more), value=NEVER)
    for group, row in zip(groups.tolist(), rows, strict=True):
        batch.bias_BGG[0, group, : len(row)] = row
        batch.bias_BGG[0, group, group] = 0.0
    return groups


def _forget(batch: Batch, used_B: Tensor, num_groups_B: Tensor) -> None:
    """Make a batch what it was; slots that are in use no more are written again."""
    batch.used_B, batch.num_groups_B = used_B, num_groups_B
    batch.key_group_BS = batch.key_group_BS[:, : int(used_B[0])]
    batch.key_position_BS = batch.key_position_BS[:, : int(used_B[0])]

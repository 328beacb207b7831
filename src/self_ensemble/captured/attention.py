"""Attention of a decode step over a prefix that all questions share and rows of their own.

B rows, K streams of each, P prefix length, S slots, Hkv key-value heads, G query heads of each,
D head dim.
"""

import torch
from torch import Tensor


def step_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: tuple[Tensor, Tensor] | None,
    mask_BKS: Tensor,
    scale: float,
    softcap: float | None,
    sinks_H: Tensor | None = None,
) -> Tensor:
    """One softmax over prefix and rows, written as matrix products.

    Query heads that share keys are rows of one product, so keys are read once, and the prefix is
    read once for all questions.

    Args:
        query: `(1, Hkv * G, B * K, D)`.
        key: `(B, Hkv, S, D)`.
        value: `(B, Hkv, S, D)`.
        prefix: Keys and values `(P, Hkv, D)`; None for no prefix.
        mask_BKS: Additive mask over prefix and slots, float32, `(B, K, P + S)`.
        scale: Of the scores.
        softcap: Largest score, which tanh approaches; None for no cap.
        sinks_H: One more score for each head, `(Hq,)`, whose value is nothing; None for none.

    Returns:
        `(1, B * K, Hkv * G, D)`.
    """
    num_rows, num_streams, _ = mask_BKS.shape
    num_kv_heads, head_dim = key.shape[1], key.shape[3]
    # Scaled before and not after the product, which 16-bit types might not hold.
    by_head = (query * scale).reshape(num_kv_heads, -1, num_rows, num_streams, head_dim)
    by_row = by_head.permute(2, 0, 1, 3, 4)  # (B, Hkv, G, K, D)
    scores = (by_row.flatten(2, 3) @ key.transpose(-1, -2)).view(*by_row.shape[:4], -1)
    length = 0
    if prefix is not None:
        length = len(prefix[0])
        shared = by_head.flatten(1, 3) @ prefix[0].permute(1, 2, 0)
        shared = shared.view(*by_head.shape[:4], length).permute(2, 0, 1, 3, 4)
        scores = torch.cat([shared, scores], dim=-1)
    scores = scores.float()
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + mask_BKS[:, None, None]
    if sinks_H is not None:
        sinks = sinks_H.float().view(num_kv_heads, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sinks], dim=-1)
    probs = scores.softmax(dim=-1)[..., : mask_BKS.shape[-1]].to(value.dtype)
    output: Tensor = (probs[..., length:].flatten(2, 3) @ value).view(by_row.shape)
    if prefix is not None:
        read = probs[..., :length].permute(1, 2, 0, 3, 4).flatten(1, 3)
        from_prefix = (read @ prefix[1].transpose(0, 1)).view(by_head.shape)
        output = output + from_prefix.permute(2, 0, 1, 3, 4)
    return output.permute(0, 3, 1, 2, 4).reshape(1, num_rows * num_streams, -1, head_dim)

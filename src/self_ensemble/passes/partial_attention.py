"""Attention over some of the keys, and two such parts put together.

Softmax over all keys is the mean of the softmaxes over two parts of them, each weighted by its
share of the sum of exponentials. So a prefix that all questions share is read once for all of
them, and each question's own keys by themselves.

Sources: Milakov and Gimelshein 2018, "Online normalizer calculation for softmax", arXiv
1805.02867; Juravsky et al. 2024, "Hydragen: High-Throughput LLM Inference with Shared Prefixes",
arXiv 2402.05099.

B rows of R queries and S keys, Hq query heads, Hkv key-value heads, D head dim.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Added to a score: small enough to leave a part no share, and still a number.
HIDDEN = -1e30


class Part(NamedTuple):
    """What queries read from some of their keys.

    Attributes:
        output: Mean of the values, weighted by softmax over these keys, `(B, Hq, R, D)`.
        logsumexp: Log of the sum of exponentials of the scores, float32, `(B, Hq, R)`.
    """

    output: Tensor
    logsumexp: Tensor


def merged(one: Part, other: Part) -> Tensor:
    """Attention over the keys of both parts, `(B, Hq, R, D)`."""
    share = torch.sigmoid(one.logsumexp - other.logsumexp)[..., None].to(one.output.dtype)
    return torch.lerp(other.output, one.output, share)


def with_sinks(output: Tensor, logsumexp: Tensor, sinks_H: Tensor) -> Tensor:
    """Attention with one more score in the softmax of each head, whose value is nothing.

    Such attention sinks, which a model has learned, take their share of the mass and give none.

    Args:
        output: Attention over all keys, `(B, R, Hq, D)`.
        logsumexp: Of the scores of all keys, `(B, R, Hq)`.
        sinks_H: The sinks' scores, `(Hq,)`.
    """
    share = torch.sigmoid(logsumexp - sinks_H.to(logsumexp))
    return output * share[..., None].to(output.dtype)


def fused_part(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> Part:
    """By PyTorch's kernel for the CPU; written out where keys and values differ in size.

    Args:
        query: `(B, Hq, R, D)`.
        key: `(B, Hkv, S, D)`.
        value: `(B, Hkv, S, D)`.
        mask: Additive mask that broadcasts to `(B, Hq, R, S)`; None for none. A query that may
            read none of the keys has `HIDDEN` and not -inf on them, which has no softmax.
        scale: Of the scores.
    """
    if key.shape[-1] != value.shape[-1]:
        return plain_part(query, key, value, mask, scale, None)
    # What scaled_dot_product_attention calls, which keeps the logsumexp to itself.
    output, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, False, attn_mask=mask, scale=scale
    )
    return Part(output, logsumexp)


def plain_part(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float,
    softcap: float | None,
) -> Part:  # fmt: skip
    """Written out, for scores that have a softcap and for other devices; as `fused_part`.

    The mask is float32, as the scores are.
    """
    num_rows, _, num_queries, _ = query.shape
    grouped = query.reshape(num_rows, key.shape[1], -1, num_queries, query.shape[-1])
    scores = (grouped @ key[:, :, None].transpose(-1, -2)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores = scores + mask[:, :, None]
    probs = scores.softmax(dim=-1)
    # The largest probability is exp(largest score - logsumexp).
    logsumexp = scores.amax(dim=-1) - probs.amax(dim=-1).log()
    output = (probs.to(value.dtype) @ value[:, :, None]).flatten(1, 2)
    return Part(output, logsumexp.flatten(1, 2))

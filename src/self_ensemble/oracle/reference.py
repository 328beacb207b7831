"""The oracle: attention-level and logit-level fusion the slow, obviously right way.

No cache, no batch, no packing of streams, no groups: the whole sequence goes through the model
again for every token, the attention mask is filled by nested loops from the definition, and the
model runs transformers' own eager attention. Tests, `doctor` and the benchmark compare with it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import first_position
from self_ensemble.prompts.parts import PromptParts

Owner = tuple[str, int]  # "prefix", "segment" or "fused", and which segment


@contextmanager
def eager_attention(loaded: LoadedModel) -> Iterator[None]:
    """Give the model transformers' own eager attention for a while."""
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        yield
    finally:
        loaded.model.set_attn_implementation(before)


@torch.inference_mode()
def next_logits_alone(loaded: LoadedModel, token_ids: Sequence[int]) -> Tensor:
    """Next-token logits of one ordinary sequence, `(V,)` float32."""
    ids = torch.tensor([token_ids], device=loaded.device)
    with eager_attention(loaded):
        logits: Tensor = loaded.model(input_ids=ids, use_cache=False).logits[0, -1].float()
    return logits


@torch.inference_mode()
def next_logits_fused(
    loaded: LoadedModel,
    parts: PromptParts,
    generated: Sequence[int],
    weights: Sequence[float],
    *,
    keep_positions: bool = False,
) -> Tensor:
    """Next-token logits of the fused tail, aligned positions, cue as fusion point, `(V,)`.

    Args:
        loaded: The model.
        parts: The question.
        generated: Tokens of the answer so far.
        weights: Attention weight of each wording, `(N,)`.
        keep_positions: Whether the tail stands behind the longest of all wordings, those without
            weight included.
    """
    output, _ = _fused_pass(loaded, parts, generated, weights, keep_positions)
    logits: Tensor = output.logits[0, -1].float()
    return logits


@torch.inference_mode()
def attention_of_tail(
    loaded: LoadedModel,
    parts: PromptParts,
    generated: Sequence[int],
    weights: Sequence[float],
) -> tuple[Tensor, list[Owner]]:
    """What the newest token of the fused tail attends to, by the model's own eager attention.

    Returns:
        Attention weights on every packed token, `(L, Hq, S)`, and whose each of the S is.
    """
    output, owners = _fused_pass(loaded, parts, generated, weights, False, attentions=True)
    return torch.stack([layer[0, :, -1].float() for layer in output.attentions]), owners


def _fused_pass(
    loaded: LoadedModel,
    parts: PromptParts,
    generated: Sequence[int],
    weights: Sequence[float],
    keep_positions: bool,
    attentions: bool = False,
) -> tuple[Any, list[Owner]]:
    """One pass over everything, and whose each token of it is."""
    tokens, positions = list(parts.prefix), list(range(len(parts.prefix)))
    owners: list[Owner] = [("prefix", 0)] * len(parts.prefix)
    for index, segment in enumerate(parts.segments):
        for offset, token in enumerate(segment):
            tokens.append(token)
            positions.append(len(parts.prefix) + offset)
            owners.append(("segment", index))
    kept = [
        segment
        for segment, w in zip(parts.segments, weights, strict=True)
        if w > 0 or keep_positions
    ]
    longest = max(len(segment) for segment in kept)
    for offset, token in enumerate([*parts.cue, *generated]):
        tokens.append(token)
        positions.append(len(parts.prefix) + longest + offset)
        owners.append(("fused", 0))

    size = len(tokens)
    first = first_position(loaded.model)
    forbidden = torch.finfo(loaded.dtype).min

    def mask(window: int | None) -> Tensor:
        table = torch.full((1, 1, size, size), forbidden)
        for q in range(size):
            for k in range(q + 1):
                if window is not None and positions[q] - positions[k] >= window:
                    continue
                reader, read = owners[q], owners[k]
                if read[0] == "prefix" or read == reader:
                    table[0, 0, q, k] = 0.0
                elif reader[0] == "fused" and weights[read[1]] > 0:
                    table[0, 0, q, k] = math.log(weights[read[1]])
        return table.to(loaded.device, loaded.dtype)

    with eager_attention(loaded):
        output = loaded.model(
            input_ids=torch.tensor([tokens], device=loaded.device),
            position_ids=torch.tensor([positions], device=loaded.device) + first,
            attention_mask=_per_layer_type(loaded, mask),
            use_cache=False,
            output_attentions=attentions,
        )
    return output, owners


def _per_layer_type(
    loaded: LoadedModel, mask: Callable[[int | None], Tensor]
) -> Tensor | dict[str, Tensor]:
    config = loaded.model.config
    window = getattr(config, "sliding_window", None)
    types = set(getattr(config, "layer_types", None) or [])
    if types:
        return {
            kind: mask(window if kind == "sliding_attention" else None)
            for kind in types | {"full_attention"}
        }
    return mask(window)


def greedy_fused(
    loaded: LoadedModel, parts: PromptParts, weights: Sequence[float], num_tokens: int
) -> list[int]:
    """The attention-level answer, recomputed in full for every token."""
    generated: list[int] = []
    for _ in range(num_tokens):
        generated.append(int(next_logits_fused(loaded, parts, generated, weights).argmax()))
    return generated


def greedy_tied(
    loaded: LoadedModel,
    parts: PromptParts,
    combine: Callable[[list[Tensor]], Tensor],
    num_tokens: int,
) -> list[int]:
    """A logit-level answer: every wording's full prompt is recomputed for every token.

    Args:
        loaded: The model.
        parts: The question.
        combine: N logit vectors to one score vector.
        num_tokens: Length of the answer.
    """
    generated: list[int] = []
    for _ in range(num_tokens):
        each = [
            next_logits_alone(loaded, [*parts.alone(index), *generated])
            for index in range(len(parts.segments))
        ]
        generated.append(int(combine(each).argmax()))
    return generated

"""transformers' own `generate`, with nothing of ours in it: left-padded prompts, greedy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig

from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import first_position
from self_ensemble.walking.stopping import StopRule


def left_padded(
    prompts: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Prompts of unequal lengths as token ids and attention mask, both `(rows, L)`."""
    rows = pad_sequence(
        [torch.tensor(prompt) for prompt in prompts], True, -1, padding_side="left"
    ).to(device)
    return rows.where(rows >= 0, pad), (rows >= 0).long()


def own_attention(model: LoadedModel) -> str:
    """The library's attention that a model is loaded with; ours may have taken its place.

    Raises:
        UserError: `generate` does not answer as the model would by itself.
    """
    first = first_position(model.model)
    if first:
        raise UserError(
            f"{model.name} cannot be compared with transformers' generate, which counts positions "
            f"from 0 where this model counts from {first}, and so answers otherwise. Its answers "
            "by `self-ensemble generate` are right; their seconds are in the results.",
            "SE-0612",
        )
    return "sdpa" if model.model._supports_sdpa else "eager"


@contextmanager
def with_own_attention(model: LoadedModel) -> Iterator[None]:
    """Give a model the library's attention and greedy settings for a while."""
    attention, settings = model.model.config._attn_implementation, model.model.generation_config
    pad = model.tokenizer.pad_token_id
    eos = settings.eos_token_id
    model.model.set_attn_implementation(own_attention(model))
    # transformers fills what a call leaves out from the model's settings.
    model.model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=model.tokenizer.eos_token_id if eos is None else eos,
        pad_token_id=0 if pad is None else pad,
    )
    try:
        yield
    finally:
        model.model.generation_config = settings
        model.model.set_attn_implementation(attention)


def generated(
    model: LoadedModel, prompts: Sequence[Sequence[int]], rule: StopRule
) -> list[tuple[int, ...]]:
    """Answer one batch of prompts, each up to the token that ends it.

    Args:
        model: Whose attention is the library's; see `with_own_attention`.
        prompts: Token ids.
        rule: When an answer ends.
    """
    pad: int = model.model.generation_config.pad_token_id
    token_ids, mask = left_padded(prompts, pad, model.device)
    stop = {"stop_strings": list(rule.stop), "tokenizer": model.tokenizer} if rule.stop else {}
    output: Tensor = model.model.generate(
        token_ids, attention_mask=mask, max_new_tokens=rule.max_new_tokens, **stop
    )
    return [ended(rule, row) for row in output[:, token_ids.shape[1] :].tolist()]


def ended(rule: StopRule, token_ids: Sequence[int]) -> tuple[int, ...]:
    """An answer up to the token that ends it, without what `generate` padded behind it."""
    for length in range(1, len(token_ids) + 1):
        if rule.reason(token_ids[:length]) is not None:
            return tuple(token_ids[:length])
    return tuple(token_ids)

"""The published loop, slow and readable: N full prompts in a row, all of it again per token.

    prompt 1 = prefix, wording 1, cue | prompt 2 | ... | prompt N | generated tokens

Every prompt reads itself; generated tokens read everything. Position ids count through the whole
sequence, the first token is predicted from the last prompt alone, and no wording has a weight.
Nothing is kept between tokens, the mask is made again in every layer, and questions are answered
one at a time.

This is kinder to the loop than its description: the mask is one vectorised comparison, attention
is PyTorch's fused kernel, and logits are computed at the last token only.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from self_ensemble.models.load import LoadedModel

ATTENTION = "self_ensemble_published_loop"


@torch.inference_mode()
def published_answer(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], num_tokens: int
) -> list[int]:
    """Generate greedily after N prompts; the model must have the attention `ATTENTION`.

    Args:
        loaded: The model.
        prompts: Token ids of the full prompt of every wording.
        num_tokens: Length of the answer.
    """
    tokens = [token for prompt in prompts for token in prompt]
    owners = [index for index, prompt in enumerate(prompts) for _ in prompt]
    generated: list[int] = []
    for _ in range(num_tokens):
        sequence = torch.tensor([[*tokens, *generated]], device=loaded.device)
        owner = torch.tensor([*owners, *[len(prompts)] * len(generated)], device=loaded.device)
        logits = loaded.model(
            input_ids=sequence,
            position_ids=torch.arange(sequence.shape[1], device=loaded.device)[None],
            use_cache=False,
            logits_to_keep=1,
            prompt_owner=owner,
            answer_owner=len(prompts),
        ).logits
        generated.append(int(logits[0, -1].argmax()))
    return generated


def prompt_mask(owner: Tensor, answer_owner: int, window: int | None) -> Tensor:
    """Who may read whom, bool `(L, L)`: causal, within a prompt, and all of it for the answer.

    Args:
        owner: Prompt that each token belongs to, `(L,)`.
        answer_owner: The number that stands for generated tokens.
        window: Sliding window of the layer, if it has one.
    """
    place = torch.arange(len(owner), device=owner.device)
    distance = place[:, None] - place[None, :]
    same_prompt = owner[:, None] == owner[None, :]
    is_answer = owner[:, None] == answer_owner
    allowed = (distance >= 0) & (same_prompt | is_answer)
    return allowed if window is None else allowed & (distance < window)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    prompt_owner: Tensor,
    answer_owner: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    mask = prompt_mask(prompt_owner, answer_owner, sliding_window)
    output = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attention)

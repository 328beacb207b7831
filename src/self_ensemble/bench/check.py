"""No numbers without right answers: what is timed is compared with the oracle before.

Each token must be the one that the oracle would choose after the tokens before it. Where its best
ones are equal up to rounding, each of them is right; how often that happened is told.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from self_ensemble.asking.request import Answer
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.oracle.reference import eager_attention, next_logits_fused
from self_ensemble.prompts.parts import PromptParts

CHECKED = ("flex_attention", "avg", "per_prompt")
# By how much of the way from a mean logit to the best one a right token may fall short of it.
# Seen on SmolLM2-135M: less than 1e-5 in float32, 6e-3 in bfloat16.
TIES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class Check(NamedTuple):
    """What was compared: tokens with the oracle's, rows of `generate` with ours; and ties."""

    num_tokens: int
    num_rows: int
    num_ties: int


def check_answers(
    model: LoadedModel,
    parts: Sequence[PromptParts],
    answers: Mapping[str, Sequence[Answer]],
    rows: Sequence[Sequence[int]],
    num_questions: int,
) -> Check:
    """Compare the answers to a batch of questions, by each method in `CHECKED` and `generate`.

    The rows of `generate` stand question by question and wording by wording. Only the first
    `num_questions` are compared with the oracle, which is slow; the others where rows differ.

    Raises:
        UserError: A token is not right, or the oracle's logits are not finite.
    """
    ties, num_rows = list[bool](), 0
    for index, question in enumerate(parts):
        fused, avg, alone = (answers[name][index] for name in CHECKED)
        prompts = [question.alone(n) for n in range(len(question.segments))]
        if index < num_questions:
            uniform, tokens = [1.0 / len(prompts)] * len(prompts), fused.token_ids
            starts = [tokens[:n] for n in range(len(tokens))]
            each = [next_logits_fused(model, question, start, uniform) for start in starts]
            ties += _ties(model, f"flex_attention, question {index}", tokens, torch.stack(each))
            each = [_alone(model, prompt, avg.token_ids) for prompt in prompts]
            mean = torch.stack(each).mean(dim=0)
            ties += _ties(model, f"avg, question {index}", avg.token_ids, mean)
        for n, (prompt, one) in enumerate(zip(prompts, alone.members, strict=True)):
            assert isinstance(one, Answer), "a batch with one that is not finite is not compared"
            row, num_rows = tuple(rows[num_rows]), num_rows + 1
            if index < num_questions or row != one.token_ids:
                for name, tokens in (("per_prompt", one.token_ids), ("generate", row)):
                    what = f"{name}, question {index}, wording {n}"
                    ties += _ties(model, what, tokens, _alone(model, prompt, tokens))
    return Check(len(ties), num_rows, sum(ties))


def check_rows(
    model: LoadedModel, what: str, prompts: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]
) -> list[bool]:
    """Compare rows of `generate` with the oracle; tells of each token whether it is a tie.

    Raises:
        UserError: A token is not right, or the oracle's logits are not finite.
    """
    ties: list[bool] = []
    for index, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        tokens = tuple(row)
        ties += _ties(model, f"{what}, question {index}", tokens, _alone(model, prompt, tokens))
    return ties


@torch.inference_mode()
def _alone(model: LoadedModel, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Logits that the oracle chooses each token behind one prompt from, `(T, V)`, in one pass."""
    ids = torch.tensor([[*prompt, *answer[:-1]]], device=model.device)
    with eager_attention(model):
        logits: Tensor = model.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :]
    return logits.float()


def _ties(model: LoadedModel, what: str, tokens: Sequence[int], logits: Tensor) -> list[bool]:
    """Of each token whether another one is the oracle's, and both are equal up to rounding."""
    best, oracle = logits.max(dim=-1)
    gaps = best - logits[range(len(tokens)), tokens]
    wrong = ~(gaps <= TIES[model.dtype] * (best - logits.mean(dim=-1)))
    if wrong.any():
        place = int(wrong.nonzero()[0])
        found = f"got {tokens[place]}, expected {int(oracle[place])}"
        reason = found if best[place].isfinite() else "the oracle's logits are not finite"
        raise UserError(
            f"Answers are not right ({what}, token {place}: {reason}), so no numbers are "
            "reported. Report this as a bug, with the command.",
            "SE-0614",
        )
    return [bool(gap > 0) for gap in gaps]

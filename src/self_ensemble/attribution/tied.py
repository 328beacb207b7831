"""Logit-level fusion: every wording goes on by itself, and a rule reads some of them.

The wordings are fed the answer once. At each token the rule is applied to every subset of their
logits, many subsets of one size at a time.

N wordings, T tokens of the answer, V vocabulary, S subsets of one size.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from self_ensemble.asking.layout import Streams
from self_ensemble.attribution.asked import Asked
from self_ensemble.attribution.games import Subset
from self_ensemble.walking.forced import forced_steps
from self_ensemble.walking.loop import LOGITS_AT_ONCE
from self_ensemble.walking.user_rule import RuleError


@torch.inference_mode()
def forced_logits(asked: Asked) -> Iterator[Tensor]:
    """What the wordings, and last the prompt without the question, predict, `(N + 1, V)` each."""
    streams = Streams(fused=False, num_alone=asked.num_wordings, prior=True)
    batch, frontier = asked.prefiller.prefill([asked.request], [asked.method], streams)
    for step in forced_steps(batch, frontier, [asked.token_ids]):
        yield step.logits_RNV[0]


def fused_scores(asked: Asked, logits: Tensor, subsets: Sequence[Subset]) -> Tensor:
    """The rule's scores where it gets some of the wordings, all of one size, `(S, V)`."""
    assert asked.method.rule is not None
    wordings = torch.tensor(subsets, device=logits.device)
    rows = wordings
    if asked.method.reads_prior:
        prior = torch.full((len(rows), 1), asked.num_wordings, device=logits.device)
        rows = torch.cat([rows, prior], dim=1)
    weights = torch.tensor([asked.rule_weights(subset) for subset in subsets])
    try:
        return asked.method.rule(logits[rows], weights.to(logits.device))
    except RuleError as error:
        few = "" if len(subsets[0]) == asked.num_wordings else f" given {len(subsets[0])} wordings"
        raise RuleError(f"{error} (attribution{few}, question {asked.request.key}).") from error


@torch.inference_mode()
def token_logprobs(
    asked: Asked, logits: Tensor, token_id: int, subsets: Sequence[Subset]
) -> dict[Subset, float]:
    """Log-probability of a token under subsets of the wordings.

    Args:
        asked: The answer.
        logits: What is predicted where it stands, `(N + 1, V)`; see `forced_logits`.
        token_id: The token.
        subsets: Of the wordings; without any the prompt without the question predicts it.
    """
    effective = {subset: asked.effective(subset) for subset in subsets}
    found: dict[Subset, float] = {}
    for size, group in groupby(sorted(set(effective.values()), key=len), key=len):
        some = list(group)
        at_once = max(1, LOGITS_AT_ONCE // (max(1, size) * logits.shape[-1]))
        for start in range(0, len(some), at_once):
            part = some[start : start + at_once]
            scores = fused_scores(asked, logits, part) if size else logits[-1:]
            chosen = (scores[:, token_id] - scores.logsumexp(dim=-1)).double().tolist()
            found |= dict(zip(part, chosen, strict=True))
    return {subset: found[kept] for subset, kept in effective.items()}

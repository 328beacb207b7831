"""How well a wording leads back to its original: log p(original | wording)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from self_ensemble.ensemble import Ensemble
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.prefill import prefill


def mean_logprobs(ensemble: Ensemble, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Mean log-probability of given continuations.

    Args:
        ensemble: Whose prompt the texts are put into.
        pairs: A wording, and the text whose probability behind the cue is asked.

    Returns:
        For each pair the mean over the tokens of the text and its line end; nan where the model's
        logits are not finite.
    """
    if not pairs:
        return []
    found = _mean_logprobs(ensemble, pairs)
    if len(pairs) == 1:
        return found
    # What is not finite in one prompt may have reached those beside it; see `isolation`.
    return [
        one if math.isfinite(one) else _mean_logprobs(ensemble, [pair])[0]
        for one, pair in zip(found, pairs, strict=True)
    ]


@torch.inference_mode()
def _mean_logprobs(ensemble: Ensemble, pairs: Sequence[tuple[str, str]]) -> list[float]:
    frame = ensemble.frame
    parts = [frame.parts((wording,)) for wording, _ in pairs]
    num_prefix = min(len(one.prefix) for one in parts)
    layouts = [build_layout(one, fused=False, alone=(0,), num_prefix=num_prefix) for one in parts]
    targets = [torch.tensor(frame.behind(f" {text}\n")) for _, text in pairs]
    batch, frontier = prefill(ensemble.engine, layouts, ensemble.prefix())
    # All but the last token of each target are read; each predicts the next one.
    steps = torch.cat([torch.arange(len(target) - 1) for target in targets])
    rows = torch.repeat_interleave(torch.tensor([len(target) - 1 for target in targets]))
    logits = batch.feed(
        torch.cat([target[:-1] for target in targets]),
        rows,
        frontier.groups_M[rows],
        frontier.positions_M[rows] + steps,
        None,
    )
    found: list[float] = []
    for row, target in enumerate(targets):
        of_text = torch.cat([frontier.logits_MV[row : row + 1], logits[rows == row]])
        found.append(_mean_logprob(of_text, target.to(of_text.device)))
    return found


def _mean_logprob(logits: Tensor, target: Tensor) -> float:
    """Mean over the tokens `(T,)` of a text, from the logits `(T, V)` that predict them."""
    chosen = logits.gather(-1, target[:, None])[:, 0] - logits.logsumexp(dim=-1)
    return chosen.mean().item()

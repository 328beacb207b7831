"""What every wording predicts where the right answer stands, cut down to the tokens that matter.

Q questions, N wordings, L tokens of an answer, V vocabulary, C candidates of a position.

At each position the candidates are the K most probable tokens of every wording, the right one, and
one that stands for all other tokens together: C <= N K + 2. Every wording's probabilities still
sum to 1. By Hoelder's inequality the pooled weight of the other tokens together is at least the
sum of their pooled weights, so a negative log-likelihood is never too small; K = V is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from self_ensemble.asking.isolation import REMEDY
from self_ensemble.asking.layout import Streams, request_layouts
from self_ensemble.asking.request import Request
from self_ensemble.ensemble import Ensemble
from self_ensemble.passes.prefill import prefill
from self_ensemble.walking.forced import ForcedStep, forced_steps

# On 24 facts of MyriadLAMA in 5 templates, SmolLM2-135M (V = 49,152), the negative log-likelihood
# with K = 1,000 is 7.105 nats for equal and 6.205 for learned weights, exactly 7.078 and 6.192,
# and the largest weight 0.796, exactly 0.782. K = 100: 7.176, 6.242 and 0.843.
TOP_K = 1000


@dataclass(frozen=True, slots=True)
class Candidates:
    """One question: the wordings' log-probabilities of the candidates at each position.

    Attributes:
        logprobs: Position by position, `(N, C_1 + .. + C_L)`, float64.
        starts: Column at which each position begins, `(L,)`; the first is 0.
        right: Column of the right token of each position, `(L,)`.
    """

    logprobs: NDArray[np.float64]
    starts: NDArray[np.int64]
    right: NDArray[np.int64]


def answer_candidates(
    ensemble: Ensemble,
    requests: Sequence[Request],
    answers: Sequence[Sequence[int]],
    top_k: int = TOP_K,
) -> list[Candidates | str]:
    """Feed each wording its question's right answer and keep what it predicts on the way.

    Args:
        ensemble: An ensemble with a logit-level method; every wording is continued alone.
        requests: One batch of questions with the same number of wordings, which can be asked.
        answers: Token ids of each question's right answer; see `targets`.
        top_k: K.

    Returns:
        One entry per question: what it predicts, or why its weights cannot be learned: a score is
        not finite, or a wording rules out a token that another one does not.
    """
    streams = Streams.of(ensemble.methods, len(requests[0].wordings))
    layouts = request_layouts(
        requests, ensemble.methods, streams, ensemble.frame, ensemble.settings, ensemble.model
    )
    batch, frontier = prefill(ensemble.engine, layouts, ensemble.prefix())
    positions: list[list[tuple[NDArray[np.float64], int]]] = [[] for _ in requests]
    problems: dict[int, str] = {}
    for number, step in enumerate(forced_steps(batch, frontier, answers), start=1):
        for row, position in zip(step.rows_R.tolist(), _positions(step, top_k), strict=True):
            positions[row].append(position)
            if not np.isfinite(position[0]).all():
                problems.setdefault(row, _problem(number, position[0]))
    return [
        problems[row] if row in problems else _joined(of_question)
        for row, of_question in enumerate(positions)
    ]


def _problem(number: int, logprobs: NDArray[np.float64]) -> str:
    token = f"token {number} of the right answer"
    if np.isnan(logprobs).any():
        return f"The model gives nan or infinity for {token}. {REMEDY}"
    return (
        f"A wording rules out what others think possible as {token}, so its weight cannot be "
        "learned. Leave the row out."
    )


def _positions(step: ForcedStep, top_k: int) -> list[tuple[NDArray[np.float64], int]]:
    """Log-probabilities `(N, C)` and the right token's column, for each question of a step."""
    logprobs = step.logits_RNV.log_softmax(dim=-1)
    best = logprobs.topk(min(top_k, logprobs.shape[-1]), dim=-1).indices
    found = []
    for row, right in enumerate(step.tokens_R.tolist()):
        tokens = torch.unique(torch.cat([best[row].flatten(), best.new_tensor([right])]))
        # What every wording rules out, as models do with places that are no token, has no share.
        possible = (logprobs[row][:, tokens] != -torch.inf).any(dim=0)
        tokens = tokens[possible | (tokens == right)]
        kept = [logprobs[row][:, tokens]]
        others = logprobs[row].index_fill(1, tokens, -torch.inf).logsumexp(dim=1, keepdim=True)
        if (others != -torch.inf).any():
            kept.append(others)
        column = int(torch.searchsorted(tokens, right))
        found.append((torch.cat(kept, dim=1).double().cpu().numpy(), column))
    return found


def _joined(positions: Sequence[tuple[NDArray[np.float64], int]]) -> Candidates:
    sizes = [logprobs.shape[1] for logprobs, _ in positions]
    starts = np.cumsum([0, *sizes[:-1]])
    columns = np.array([column for _, column in positions])
    return Candidates(
        np.concatenate([logprobs for logprobs, _ in positions], axis=1), starts, starts + columns
    )

"""The decode loop: every method of a comparison walks on from one prefill.

A *track* is one method's way of choosing tokens: the fused stream, N streams tied by a fusion
rule, or N streams that each go their own way. Walkers of all tracks stand on the nodes of one
frontier; where two of them have taken the same tokens they share a node, so the comparison of
ten methods costs little more than the tokens in which they differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.decoding.batch import Batch, Frontier, advance
from self_ensemble.decoding.choose import Sampling, choose
from self_ensemble.decoding.fusion import FusionRule, fuse
from self_ensemble.decoding.stopping import StopRule

# Logits that a rule gets at once on a CPU: its intermediate results then stay in the cache
# instead of going to memory and back.
FUSED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Track:
    """One way of choosing tokens.

    Attributes:
        name: Name of the method.
        streams: Which streams of a question it walks, as indices into the prefill's nodes.
            A stream that stands there S times is sampled S times.
        sampling: How its tokens are chosen.
        rule: Ties the streams: all take the token that the rule's distribution gives. None:
            each stream takes its own token and is an answer of its own.
    """

    name: str
    streams: tuple[int, ...]
    sampling: Sampling
    rule: FusionRule | None = None

    @property
    def num_answers(self) -> int:
        return len(self.streams) if self.rule is None else 1


@dataclass(slots=True)
class Decoded:
    """One answer as it grows."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop_reason: str | None = None


@dataclass(slots=True)
class _Walk:
    """Where a track stands: the node of each walker, and which answers still grow."""

    track: Track
    nodes_BK: Tensor
    answers: list[list[Decoded]]
    draws_BAT: Tensor

    def live(self) -> Tensor:
        flags = [[answer.stop_reason is None for answer in row] for row in self.answers]
        return torch.tensor(flags)


@torch.inference_mode()
def decode(
    batch: Batch,
    frontier: Frontier,
    tracks: Sequence[Track],
    weights_BN: Tensor,
    keys: Sequence[str],
    stop: StopRule,
) -> list[list[list[Decoded]]]:
    """Decode every track of a batch to its end.

    Args:
        batch: The prefilled batch.
        frontier: Its nodes: the same number of streams for each question.
        tracks: What to decode.
        weights_BN: Weight of each wording, for rules that read them.
        keys: Identity of each question, which fixes its sampled draws.
        stop: When an answer ends.

    Returns:
        Answers as `[track][question][answer]`; a tied track has one answer per question.
    """
    num_rows = len(keys)
    nodes_BK = torch.arange(len(frontier.rows_M)).reshape(num_rows, -1)
    walks = [
        _Walk(
            track,
            nodes_BK[:, list(track.streams)],
            [[Decoded() for _ in range(track.num_answers)] for _ in keys],
            _draws(track, keys, stop.max_new_tokens),
        )
        for track in tracks
    ]
    step = 0
    while True:
        moves = [_choose_tokens(walk, frontier, weights_BN, stop, step) for walk in walks]
        nodes = torch.cat([nodes for nodes, _ in moves])
        if len(nodes) == 0:
            return [walk.answers for walk in walks]
        tokens = torch.cat([tokens for _, tokens in moves])
        frontier, new_nodes = advance(batch, frontier, nodes, tokens)
        for walk, part in zip(
            walks, torch.split(new_nodes, [len(n) for n, _ in moves]), strict=True
        ):
            walk.nodes_BK[_walkers(walk)] = part
        step += 1


def _walkers(walk: _Walk) -> Tensor:
    """Which walkers `(B, K)` belong to an answer that still grows."""
    return walk.live().expand(walk.nodes_BK.shape)


def _choose_tokens(
    walk: _Walk,
    frontier: Frontier,
    weights_BN: Tensor,
    stop: StopRule,
    step: int,
) -> tuple[Tensor, Tensor]:
    """Give each growing answer its next token; nodes and tokens of the walkers that go on."""
    live_BA = walk.live()
    rows, columns = live_BA.nonzero(as_tuple=True)
    if len(rows) == 0:
        return rows, rows
    device = frontier.logits_MV.device
    if walk.track.rule is None:
        # Samples of one wording stand on one node until they part; its logits are read once.
        nodes, of_A = torch.unique(walk.nodes_BK[rows, columns], return_inverse=True)
        scores = frontier.logits_MV[nodes.to(device)]
    else:
        of_A = None
        nodes_AN = walk.nodes_BK[rows].to(device)
        scores = _fused(walk.track.rule, frontier.logits_MV, nodes_AN, weights_BN[rows].to(device))
    draws = walk.draws_BAT[rows, columns, step]
    tokens, logprobs = choose(scores, draws, walk.track.sampling, of_A)
    chosen = zip(rows.tolist(), columns.tolist(), tokens.tolist(), logprobs.tolist(), strict=True)
    for row, column, token, logprob in chosen:
        answer = walk.answers[row][column]
        answer.token_ids.append(token)
        answer.logprobs.append(logprob)
        answer.stop_reason = stop.reason(answer.token_ids)
    tokens_BA = torch.zeros(live_BA.shape, dtype=torch.long)
    tokens_BA[rows, columns] = tokens
    going_on = _walkers(walk)
    return walk.nodes_BK[going_on], tokens_BA.expand(going_on.shape)[going_on]


def _fused(rule: FusionRule, logits_MV: Tensor, nodes_AN: Tensor, weights_AN: Tensor) -> Tensor:
    """Scores of each answer `(A, V)`, on a CPU a few answers at a time."""
    at_once = len(nodes_AN)
    if logits_MV.device.type == "cpu":
        at_once = max(1, FUSED_AT_ONCE // (nodes_AN.shape[1] * logits_MV.shape[1]))
    parts = zip(torch.split(nodes_AN, at_once), torch.split(weights_AN, at_once), strict=True)
    return torch.cat([fuse(rule, logits_MV[nodes], weights) for nodes, weights in parts])


def _draws(track: Track, keys: Sequence[str], num_draws: int) -> Tensor:
    shape = (len(keys), track.num_answers, num_draws)
    if track.sampling.temperature == 0.0:
        return torch.zeros(1, 1, 1, dtype=torch.float64).expand(shape)
    draws = [
        [
            torch.from_numpy(track.sampling.uniforms(f"{key}\0{track.name}\0{answer}", num_draws))
            for answer in range(track.num_answers)
        ]
        for key in keys
    ]
    return torch.stack([torch.stack(row) for row in draws])

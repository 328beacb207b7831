"""The decode loop: every method of a comparison walks on from one prefill.

A *track* is one method's way of choosing tokens: the fused stream, N streams tied by a fusion
rule, or N streams that each go their own way. Walkers of all tracks stand on the nodes of one
frontier; where two of them have taken the same tokens they share a node, so the comparison of
ten methods costs little more than the tokens in which they differ.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.passes.batch import Batch, Frontier, advance
from self_ensemble.walking.choose import Sampling, choose
from self_ensemble.walking.fusion import FusionRule
from self_ensemble.walking.stopping import StopRule

# Logits that are looked at together on a CPU: what is made of them then stays in the processor's
# cache instead of going to memory and back.
LOGITS_AT_ONCE = 1 << 20
# The end of an answer whose next score, or the normaliser of it, is no finite number.
NOT_FINITE = "not finite"


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
        first_answer: Number of its first answer, which fixes what is drawn for it.
    """

    name: str
    streams: tuple[int, ...]
    sampling: Sampling
    rule: FusionRule | None = None
    first_answer: int = 0

    @property
    def num_answers(self) -> int:
        return len(self.streams) if self.rule is None else 1


@dataclass(slots=True)
class Decoded:
    """One answer as it grows.

    Attributes:
        token_ids: Its tokens.
        logprobs: Their log-probabilities.
        stop_reason: Why it has ended; None while it grows.
    """

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop_reason: str | None = None

    @property
    def is_finite(self) -> bool:
        """Whether every token that it should have could be chosen."""
        return self.stop_reason != NOT_FINITE

    def take(self, token: int, logprob: float, stop: StopRule) -> None:
        """Add a token, or end the answer where there was none to choose: a score of nan or inf."""
        if not math.isfinite(logprob):
            self.stop_reason = NOT_FINITE
            return
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.stop_reason = stop.reason(self.token_ids)


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
    draws_A = walk.draws_BAT[rows, columns, step]
    tokens = torch.empty(len(rows), dtype=torch.long)
    # Scores of a user's rule may be of any type, and this holds them all.
    logprobs = torch.empty(len(rows), dtype=torch.float64)
    for scores, answers, of_A in _scores(walk, frontier, weights_BN, rows, columns):
        chosen, found = choose(scores, draws_A[answers], walk.track.sampling, of_A)
        tokens[answers], logprobs[answers] = chosen, found.double()
    taken = zip(rows.tolist(), columns.tolist(), tokens.tolist(), logprobs.tolist(), strict=True)
    for row, column, token, logprob in taken:
        walk.answers[row][column].take(token, logprob, stop)
    tokens_BA = torch.zeros(live_BA.shape, dtype=torch.long)
    tokens_BA[rows, columns] = tokens
    going_on = _walkers(walk)
    return walk.nodes_BK[going_on], tokens_BA.expand(going_on.shape)[going_on]


def _scores(
    walk: _Walk, frontier: Frontier, weights_BN: Tensor, rows: Tensor, columns: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Distributions to choose from, on a CPU a few at a time.

    Yields:
        Unnormalised log-probabilities `(M, V)`; which of the answers at `rows` and `columns`
        choose from them; the distribution of each, None for one of its own each.
    """
    if walk.track.rule is None:
        # Samples of one wording stand on one node until they part; its logits are read once.
        nodes, of_A = torch.unique(walk.nodes_BK[rows, columns], return_inverse=True)
        start = 0
        for part in torch.split(nodes, _num_at_once(frontier, 1)):
            answers = ((of_A >= start) & (of_A < start + len(part))).nonzero()[:, 0]
            yield frontier.logits_of(part), answers, of_A[answers] - start
            start += len(part)
        return
    at_once = _num_at_once(frontier, walk.nodes_BK.shape[1])
    parts = (rows, weights_BN[rows].to(frontier.logits_MV.device), torch.arange(len(rows)))
    for row, weights, answers in zip(*(torch.split(one, at_once) for one in parts), strict=True):
        logits = frontier.logits_of(walk.nodes_BK[row])
        yield walk.track.rule(logits, weights), answers, None


def _num_at_once(frontier: Frontier, num_streams: int) -> int:
    """How many distributions, each made of so many streams, are looked at together."""
    num_nodes, vocabulary = frontier.logits_MV.shape
    if frontier.logits_MV.device.type != "cpu":
        return num_nodes  # no track has more
    return max(1, LOGITS_AT_ONCE // (num_streams * vocabulary))


def _draws(track: Track, keys: Sequence[str], num_draws: int) -> Tensor:
    shape = (len(keys), track.num_answers, num_draws)
    if track.sampling.temperature == 0.0:
        return torch.zeros(1, 1, 1, dtype=torch.float64).expand(shape)
    draws = [
        [
            torch.from_numpy(track.sampling.uniforms(f"{key}\0{track.name}\0{answer}", num_draws))
            for answer in range(track.first_answer, track.first_answer + track.num_answers)
        ]
        for key in keys
    ]
    return torch.stack([torch.stack(row) for row in draws])

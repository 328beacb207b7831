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

from self_ensemble.passes.batch import Batch, Frontier, Move, advance
from self_ensemble.walking.choose import choose, most_probable
from self_ensemble.walking.fusion import FusionRule
from self_ensemble.walking.sampling import Sampling
from self_ensemble.walking.stopping import StopRule

# Logits that are looked at together on a CPU: what is made of them then stays in the processor's
# cache instead of going to memory and back.
LOGITS_AT_ONCE = 1 << 20
# The end of an answer whose next score, or the normaliser of it, is no finite number.
NOT_FINITE = "not finite"
# The end of an answer that nobody waits for any more.
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Track:
    """One way of choosing tokens.

    Attributes:
        name: Name of the method.
        streams: Which streams of a question it walks, as indices into the prefill's nodes.
            A stream that stands there S times is sampled S times.
        samplings: How its tokens are chosen, for each question, `(B,)`; or one for all of them.
        rule: Ties the streams: all take the token that the rule's distribution gives. None:
            each stream takes its own token and is an answer of its own.
        first_answer: Number of its first answer, which fixes what is drawn for it.
    """

    name: str
    streams: tuple[int, ...]
    samplings: tuple[Sampling, ...]
    rule: FusionRule | None = None
    first_answer: int = 0

    @property
    def num_answers(self) -> int:
        return len(self.streams) if self.rule is None else 1

    def sampling(self, row: int) -> Sampling:
        """How the tokens of a question are chosen."""
        return self.samplings[row if len(self.samplings) > 1 else 0]


@dataclass(slots=True)
class Decoded:
    """One answer as it grows.

    Attributes:
        token_ids: Its tokens.
        logprobs: Their log-probabilities.
        tops: Where they are asked for, the likeliest tokens at the place of each, with their
            log-probabilities.
        stop_reason: Why it has ended; None while it grows.
    """

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
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
    # Which walkers `(B, K)` go on by the tokens that were chosen last.
    going_on: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.bool))

    def live(self) -> Tensor:
        flags = [[answer.stop_reason is None for answer in row] for row in self.answers]
        return torch.tensor(flags)


@dataclass(slots=True)
class Decoding:
    """A batch that is decoded, step by step.

    Attributes:
        batch: The prefilled batch.
        frontier: Its nodes: at first the same number of streams for each question.
        walks: Where each track stands.
        weights_BN: Weight of each wording, for rules that read them.
        stops: When the answers of each question end.
        num_top: How many of the likeliest tokens each question keeps of every step.
    """

    batch: Batch
    frontier: Frontier
    walks: Sequence[_Walk]
    weights_BN: Tensor
    stops: Sequence[StopRule]
    num_top: Sequence[int]
    _step: int = 0
    _nodes: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        batch: Batch,
        frontier: Frontier,
        tracks: Sequence[Track],
        weights_BN: Tensor,
        keys: Sequence[str],
        stops: Sequence[StopRule],
        num_top: Sequence[int] | None = None,
    ) -> "Decoding":
        """The beginning; see `decode`."""
        nodes_BK = torch.arange(len(frontier.rows_M)).reshape(len(keys), -1)
        num_draws = max(stop.max_new_tokens for stop in stops)
        walks = [
            _Walk(
                track,
                nodes_BK[:, list(track.streams)],
                [[Decoded() for _ in range(track.num_answers)] for _ in keys],
                _draws(track, keys, num_draws),
            )
            for track in tracks
        ]
        return cls(batch, frontier, walks, weights_BN, stops, num_top or [0] * len(keys))

    @property
    def answers(self) -> list[list[list[Decoded]]]:
        """Answers as they are now, as `[track][question][answer]`."""
        return [walk.answers for walk in self.walks]

    @torch.inference_mode()
    def choose(self) -> Move | None:
        """Give each growing answer its next token; what is to be computed next, None at the end.

        Raises:
            RuleError: A rule of the user's fails.
        """
        chosen = [_choose_tokens(walk, self) for walk in self.walks]
        self._nodes = [nodes for nodes, _ in chosen]
        nodes = torch.cat(self._nodes)
        if len(nodes) == 0:
            return None
        return Move(self.batch, self.frontier, nodes, torch.cat([tokens for _, tokens in chosen]))

    def go_on(self, frontier: Frontier, new_nodes: Tensor) -> None:
        """Take in what was computed: the new frontier, and the node of each walker in it."""
        self.frontier = frontier
        parts = torch.split(new_nodes, [len(nodes) for nodes in self._nodes])
        for walk, part in zip(self.walks, parts, strict=True):
            walk.nodes_BK[walk.going_on] = part
        self._step += 1

    def cancel(self, row: int) -> None:
        """End what still grows of a question."""
        for walk in self.walks:
            for answer in walk.answers[row]:
                answer.stop_reason = answer.stop_reason or CANCELLED


def decode(
    batch: Batch,
    frontier: Frontier,
    tracks: Sequence[Track],
    weights_BN: Tensor,
    keys: Sequence[str],
    stops: Sequence[StopRule],
    num_top: Sequence[int] | None = None,
) -> list[list[list[Decoded]]]:
    """Decode every track of a batch to its end.

    Args:
        batch: The prefilled batch.
        frontier: Its nodes: the same number of streams for each question.
        tracks: What to decode.
        weights_BN: Weight of each wording, for rules that read them.
        keys: Identity of each question, which fixes its sampled draws.
        stops: When the answers of each question end.
        num_top: How many of the likeliest tokens each question keeps of every step; None: none.

    Returns:
        Answers as `[track][question][answer]`; a tied track has one answer per question.
    """
    decoding = Decoding.of(batch, frontier, tracks, weights_BN, keys, stops, num_top)
    with torch.inference_mode():
        while (move := decoding.choose()) is not None:
            decoding.go_on(*advance(*move))
    return decoding.answers


def _choose_tokens(walk: _Walk, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """Give each growing answer its next token; nodes and tokens of the walkers that go on."""
    live_BA = walk.live()
    rows, columns = live_BA.nonzero(as_tuple=True)
    walk.going_on = torch.zeros(walk.nodes_BK.shape, dtype=torch.bool)
    if len(rows) == 0:
        return rows, rows
    draws_A = walk.draws_BAT[rows, columns, decoding._step]
    tokens = torch.empty(len(rows), dtype=torch.long)
    # Scores of a user's rule may be of any type, and this holds them all.
    logprobs = torch.empty(len(rows), dtype=torch.float64)
    num_top = max(decoding.num_top)
    tops: list[tuple[tuple[int, float], ...]] = [()] * len(rows)
    for sampling, some in _by_sampling(walk.track, rows):
        for scores, answers, of_A in _scores(walk, decoding, rows[some], columns[some]):
            places = some[answers]
            chosen, found = choose(scores, draws_A[places], sampling, of_A)
            tokens[places], logprobs[places] = chosen, found.double()
            if num_top:
                likeliest = _likeliest(scores, num_top)
                which = range(len(places)) if of_A is None else of_A.tolist()
                for place, one in zip(places.tolist(), which, strict=True):
                    tops[place] = likeliest[one]
    taken = zip(rows.tolist(), columns.tolist(), tokens.tolist(), logprobs.tolist(), strict=True)
    for (row, column, token, logprob), top in zip(taken, tops, strict=True):
        answer = walk.answers[row][column]
        answer.take(token, logprob, decoding.stops[row])
        if decoding.num_top[row] and answer.is_finite:
            answer.tops.append(top[: decoding.num_top[row]])
    tokens_BA = torch.zeros(live_BA.shape, dtype=torch.long)
    tokens_BA[rows, columns] = tokens
    # Those of an answer that still grows.
    walk.going_on = walk.live().expand(walk.nodes_BK.shape)
    return walk.nodes_BK[walk.going_on], tokens_BA.expand(walk.nodes_BK.shape)[walk.going_on]


def _by_sampling(track: Track, rows: Tensor) -> Iterator[tuple[Sampling, Tensor]]:
    """Which of the answers in some rows are chosen alike. Draws are given, so seeds count not."""
    samplings = map(track.sampling, rows.tolist())
    ways = [(sampling.temperature, sampling.top_p) for sampling in samplings]
    for way in dict.fromkeys(ways):
        some = torch.tensor([place for place, one in enumerate(ways) if one == way])
        yield Sampling(*way), some


def _likeliest(scores_MV: Tensor, num: int) -> list[tuple[tuple[int, float], ...]]:
    logprobs = scores_MV.float().log_softmax(dim=-1)
    found, token_ids = most_probable(logprobs, min(num, logprobs.shape[-1]))
    return [
        tuple(zip(*row, strict=True))
        for row in zip(token_ids.tolist(), found.tolist(), strict=True)
    ]


def _scores(
    walk: _Walk, decoding: Decoding, rows: Tensor, columns: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Distributions to choose from, on a CPU a few at a time.

    Yields:
        Unnormalised log-probabilities `(M, V)`; which of the answers at `rows` and `columns`
        choose from them; the distribution of each, None for one of its own each.
    """
    frontier, weights_BN = decoding.frontier, decoding.weights_BN
    if walk.track.rule is None:
        # Samples of one wording stand on one node until they part; its logits are read once.
        nodes, of_A = torch.unique(walk.nodes_BK[rows, columns], return_inverse=True)
        start = 0
        for part in torch.split(nodes, _num_at_once(frontier, 1)):
            answers = ((of_A >= start) & (of_A < start + len(part))).nonzero()[:, 0]
            yield _read(frontier, part), answers, of_A[answers] - start
            start += len(part)
        return
    at_once = _num_at_once(frontier, walk.nodes_BK.shape[1])
    parts = (rows, weights_BN[rows].to(frontier.logits_MV.device), torch.arange(len(rows)))
    for row, weights, answers in zip(*(torch.split(one, at_once) for one in parts), strict=True):
        logits = frontier.logits_of(walk.nodes_BK[row])
        yield walk.track.rule(logits, weights), answers, None


def _read(frontier: Frontier, nodes: Tensor) -> Tensor:
    """The logits of ascending nodes, for who only reads them: as they lie, if side by side."""
    first, end = int(nodes[0]), int(nodes[-1]) + 1
    if end - first == len(nodes):
        return frontier.logits_MV[first:end]
    return frontier.logits_of(nodes)


def _num_at_once(frontier: Frontier, num_streams: int) -> int:
    """How many distributions, each made of so many streams, are looked at together."""
    num_nodes, vocabulary = frontier.logits_MV.shape
    if frontier.logits_MV.device.type != "cpu":
        return num_nodes  # no track has more
    return max(1, LOGITS_AT_ONCE // (num_streams * vocabulary))


def _draws(track: Track, keys: Sequence[str], num_draws: int) -> Tensor:
    shape = (len(keys), track.num_answers, num_draws)
    if all(sampling.temperature == 0.0 for sampling in track.samplings):
        return torch.zeros(1, 1, 1, dtype=torch.float64).expand(shape)
    draws = [
        [
            torch.from_numpy(
                track.sampling(row).uniforms(f"{key}\0{track.name}\0{answer}", num_draws)
            )
            for answer in range(track.first_answer, track.first_answer + track.num_answers)
        ]
        for row, key in enumerate(keys)
    ]
    return torch.stack([torch.stack(row) for row in draws])

"""Teacher forcing along several answers at once: what every stream predicts behind each beginning.

    answers      Par is .            beginnings   ()  (Par)  (Par, is)  (Lyon)
                 Lyon .

What answers begin with alike is fed once. Beside the answers each wording goes on by itself from
every beginning, greedily, for a few tokens: what it would have said from there.

S streams of a prefill, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from self_ensemble.asking.layout import Streams
from self_ensemble.passes.batch import Batch, Frontier, advance
from self_ensemble.walking.choose import greedy
from self_ensemble.walking.stopping import StopRule

Tokens = tuple[int, ...]


class Beginning(NamedTuple):
    """One beginning of one answer or several.

    Attributes:
        answer: Its tokens.
        logits: What the streams of each prefill predict behind it, `(S, V)`, float32.
        ahead: Of each wording the tokens that it goes on with alone; they grow until the last
            beginning has been walked from.
    """

    answer: Tokens
    logits: tuple[Tensor, ...]
    ahead: tuple[list[int], ...]


@dataclass(slots=True)
class _Walker:
    """One wording on its own way from a beginning."""

    node: int
    answer: Tokens
    tokens: list[int]


@dataclass(slots=True)
class Walk:
    """The streams of one prefill, on their way along the answers.

    Attributes:
        streams: What they are.
        batch: The prefilled batch of the one question.
        frontier: Where they stand.
    """

    streams: Streams
    batch: Batch
    frontier: Frontier
    _nodes: dict[Tokens, Tensor] = field(init=False)
    _walkers: list[_Walker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._nodes = {(): torch.arange(len(self.frontier.rows_M))}

    def logits(self, answer: Tokens) -> Tensor:
        """What the streams predict behind a beginning of the present length, `(S, V)`."""
        return self.frontier.logits_of(self._nodes[answer])

    def go_alone(self, answer: Tokens) -> tuple[list[int], ...]:
        """Let each wording go on alone from here; the lists that its tokens will be in."""
        nodes = self._nodes[answer][list(self.streams.alone)].tolist()
        walkers = [_Walker(node, answer, []) for node in nodes]
        self._walkers += walkers
        return tuple(walker.tokens for walker in walkers)

    def step(self, beginnings: Sequence[Tokens], stop: StopRule, num_ahead: int) -> None:
        """Go on by a token: along the answers to these beginnings, and wordings alone."""
        taken = self._take(stop, num_ahead)
        nodes = [self._nodes[answer[:-1]] for answer in beginnings]
        tokens = [
            torch.full_like(one, answer[-1]) for one, answer in zip(nodes, beginnings, strict=True)
        ]
        sizes = [len(one) for one in nodes]
        self._nodes = {}
        if not nodes and not taken:
            return
        nodes.append(torch.tensor([walker.node for walker in self._walkers], dtype=torch.long))
        tokens.append(torch.tensor(taken, dtype=torch.long))
        self.frontier, found = advance(
            self.batch, self.frontier, torch.cat(nodes), torch.cat(tokens)
        )
        *parts, alone = torch.split(found, [*sizes, len(taken)])
        self._nodes = dict(zip(beginnings, parts, strict=True))
        for walker, node in zip(self._walkers, alone.tolist(), strict=True):
            walker.node = node

    @property
    def is_moving(self) -> bool:
        return bool(self._nodes) or bool(self._walkers)

    def _take(self, stop: StopRule, num_ahead: int) -> list[int]:
        """Give each wording that goes alone its next token; those of the ones that go on."""
        if not self._walkers or num_ahead == 0:
            self._walkers = []
            return []
        # Each node once: where wordings have joined an answer, they stand on nodes of it.
        nodes, of_walker = torch.unique(
            torch.tensor([walker.node for walker in self._walkers]), return_inverse=True
        )
        tokens, logprobs = greedy(self.frontier.logits_of(nodes))
        going_on, taken = [], []
        each = zip(
            self._walkers, tokens.cpu()[of_walker].tolist(),
            logprobs.cpu().isfinite()[of_walker].tolist(), strict=True,
        )  # fmt: skip
        for walker, token, is_finite in each:
            if not is_finite:
                continue
            walker.tokens.append(token)
            ended = stop.reason([*walker.answer, *walker.tokens]) is not None
            if not ended and len(walker.tokens) < num_ahead:
                going_on.append(walker)
                taken.append(token)
        self._walkers = going_on
        return taken


@torch.inference_mode()
def walk_along(
    walks: Sequence[Walk], answers: Sequence[Sequence[int]], stop: StopRule, num_ahead: int
) -> Iterator[Beginning]:
    """Feed every stream the tokens of some answers, what they begin with alike once.

    Logits of one length are alive at a time, as in decoding.

    Args:
        walks: The prefills of one question; exactly one has streams of wordings alone.
        answers: The answers' tokens; the last of an answer is predicted and not fed.
        stop: When an answer ends.
        num_ahead: Most tokens of a wording that goes on alone.

    Yields:
        The beginnings, the shorter first, the empty one even without answers.
    """
    wanted = dict.fromkeys(
        tuple(answer[:length]) for answer in answers for length in range(len(answer))
    )
    here: list[Tokens] = [()]
    (alone,) = (walk for walk in walks if walk.streams.num_alone)
    while any(walk.is_moving for walk in walks):
        for answer in here:
            logits = tuple(walk.logits(answer) for walk in walks)
            yield Beginning(answer, logits, alone.go_alone(answer))
        longer = [one for one in wanted if one and one[:-1] in here]
        for walk in walks:
            walk.step(longer, stop, num_ahead)
        here = longer

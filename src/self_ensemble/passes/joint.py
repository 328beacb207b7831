"""Several batches in one forward pass: each keeps its cache, all share the matrix products.

    tokens       batch 1        batch 2    batch 3      one row through the linear layers
    attention   [ cache 1 ]   [ cache 2 ] [ cache 3 ]   each reads its own

So questions can join those that are being answered, without a copy of anybody's keys and values,
and leave again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from self_ensemble.passes.batch import (
    Fed,
    Frontier,
    Move,
    advance,
    children,
    forward,
    num_padding,
)
from self_ensemble.passes.cache import RowCache, kept_as
from self_ensemble.passes.current_pass import Backend
from self_ensemble.passes.kept_logits import KeptLogits
from self_ensemble.passes.memory import check_fits, pass_bytes
from self_ensemble.passes.packed_pass import PackedPass

One = TypeVar("One")


@torch.inference_mode()
def advance_all(moves: Sequence[Move], kept: KeptLogits) -> list[tuple[Frontier, Tensor]]:
    """Extend nodes of several batches of one model, in one pass; see `advance`.

    Args:
        moves: One for each batch, with a walker or more.
        kept: Where large logits lie. What it held before may be overwritten.

    Returns:
        What `advance` returns, for each of them.

    Raises:
        torch.OutOfMemoryError: It does not fit; the batches cannot go on then.
    """
    # Models that make keys and values anew from their cache need it to be one.
    if len(moves) == 1 or not all(move.batch.reads_rows for move in moves):
        return [advance(*move) for move in moves]
    engine = moves[0].batch.engine
    assert all(move.batch.engine is engine for move in moves), "one model, one backend"
    new = [children(move) for move in moves]
    num_tokens = sum(len(one.tokens) for one in new)
    fed = [
        move.batch.prepare(one.tokens, one.rows, one.groups, one.positions)
        for move, one in zip(moves, new, strict=True)
    ]
    if engine.model.device.type == "cpu":
        config, dtype = engine.model.model.config, engine.model.dtype
        growth = sum(move.batch.cache.bytes_to_add() for move in moves)
        check_fits(growth + pass_bytes(config, dtype, num_tokens, num_tokens))
    logits = kept.of_step(engine.model, num_tokens, lambda: _feed(fed))
    engine.counters.forwards += 1
    engine.counters.decode_tokens += num_tokens
    found = []
    for one, part, of_part in zip(
        new, fed, torch.split(logits, [len(one.tokens) for one in new]), strict=True
    ):
        part.batch.count(part, len(of_part))
        found.append((one.frontier(of_part), one.of_walker))
    return found


def _feed(fed: Sequence[Fed]) -> Tensor:
    engine = fed[0].batch.engine
    lengths = [len(one.token_ids) for one in fed]
    more = num_padding(engine, sum(lengths))
    token_ids = F.pad(torch.cat([one.token_ids for one in fed]), (0, more))
    positions = F.pad(torch.cat([one.positions for one in fed]), (0, more))
    cache = JointCache([one.batch.row_cache for one in fed], lengths)
    packed = JointPass([one.packed for one in fed], lengths, cache, more)
    return forward(engine, packed, cache, token_ids, positions, None)[: sum(lengths)]


@dataclass(slots=True)
class JointCache:
    """The caches of several batches, as transformers' models expect one.

    Attributes:
        caches: The caches; each has been told where the tokens of the pass go.
        lengths: How many tokens of the pass are of each, in this order.
        given: What layers have got from `update`.
    """

    caches: Sequence[RowCache]
    lengths: Sequence[int]
    given: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def is_initialized(self) -> bool:
        """As `RowCache`."""
        return True

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store one layer's keys and values `(1, Hkv, T, D)`; what attention reads is in each."""
        keys, values = kept_as(keys), kept_as(values)
        for cache, start, end in _spans(self.caches, self.lengths):
            cache.update(keys[:, :, start:end], values[:, :, start:end], layer_idx)
        self.given[layer_idx] = (keys, values)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """As `RowCache`."""
        return max(cache.num_slots for cache in self.caches)


@dataclass(slots=True)
class JointPass:
    """One forward pass over several batches, as attention sees it.

    Attributes:
        passes: The pass of each batch.
        lengths: How many tokens each has, in this order.
        cache: Where they have put their keys and values.
        num_padding: Tokens behind them that are of no batch.
    """

    passes: Sequence[PackedPass]
    lengths: Sequence[int]
    cache: JointCache
    num_padding: int

    def attend(
        self, backend: Backend, query: Tensor, key: Tensor, value: Tensor, layer: int,
        scale: float, window: int | None, softcap: float | None, sinks_H: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """What the queries of a layer read, each batch's from its own cache; `(1, T, Hq, D)`."""
        given = self.cache.given.pop(layer)
        # Of models where it is not, batches have reads_rows False.
        assert key is given[0], "what the cache gave"
        found = [
            packed.attend(
                backend, query[:, :, start:end], *packed.stored[layer], layer, scale, window,
                softcap, sinks_H,
            )
            for packed, start, end in _spans(self.passes, self.lengths)
        ]  # fmt: skip
        return F.pad(torch.cat(found, dim=1), (0, 0, 0, 0, 0, self.num_padding))


def _spans(parts: Sequence[One], lengths: Sequence[int]) -> list[tuple[One, int, int]]:
    """Each part with its first place in the pass and the place behind its last."""
    ends = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    return [(part, *span) for part, span in zip(parts, pairwise(ends), strict=True)]

"""The prefix of a run and the prompts of a batch, encoded: what decoding starts from.

B questions, P prefix length, Hkv key-value heads, D head dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from self_ensemble.packing.layout import Layout, stacked_tables
from self_ensemble.packing.visibility import NEVER
from self_ensemble.passes.batch import Batch, Frontier
from self_ensemble.passes.cache import Layers, RowCache
from self_ensemble.passes.engine import Engine
from self_ensemble.passes.graph_rows import GraphRows
from self_ensemble.passes.packed_pass import Watch

# Prefix keys in all rows together from which one prefix for all is faster: below, putting its part
# and theirs together costs more than reading the copies.
SHARED_FROM = 1024


@dataclass(frozen=True, slots=True)
class Prefix:
    """The run-wide prefix, encoded.

    Attributes:
        token_ids: Its tokens.
        layers: Keys and values of every layer, `(P, Hkv, D)`.
        readable_apart: Whether attention reads them as they lie in the cache. Some architectures
            cache something else, from which they make keys and values of all slots at once.
    """

    token_ids: tuple[int, ...]
    layers: Layers
    readable_apart: bool = True

    def first(self, length: int) -> "Prefix":
        """Its first tokens, whose keys and values do not depend on the others."""
        if length == len(self.token_ids):
            return self
        layers = [(keys[:length], values[:length]) for keys, values in self.layers]
        return replace(self, token_ids=self.token_ids[:length], layers=layers if length else ())

    def in_rows(self, num_rows: int, device: torch.device) -> bool:
        """Whether so many questions have copies of it in their rows instead of sharing it."""
        pays = num_rows * len(self.token_ids) >= SHARED_FROM
        return not (pays and self.readable_apart and device.type == "cpu")


@torch.inference_mode()
def encode_prefix(engine: Engine, token_ids: Sequence[int]) -> Prefix:
    """Encode the prefix once; every batch of the run starts from it."""
    if not token_ids:
        return Prefix((), ())
    cache = _new_cache(engine, 1, (), in_rows=False)
    length = len(token_ids)
    batch = Batch(engine, cache, torch.zeros(1, 2, 2), padding_group=1)
    batch.bias_BGG[:, :, 1] = NEVER
    zeros = torch.zeros(length, dtype=torch.long)
    batch.feed(torch.tensor(token_ids), zeros, zeros, torch.arange(length), [])
    engine.counters.prefix_tokens += length
    return Prefix(tuple(token_ids), cache.first_row(), batch.reads_rows)


@torch.inference_mode()
def prefill(
    engine: Engine,
    layouts: Sequence[Layout],
    prefix: Prefix,
    *,
    in_rows: bool | None = None,
    watch: Watch | None = None,
) -> tuple[Batch, Frontier]:
    """Encode the segments and cues of a batch behind the prefix.

    Args:
        engine: The model with its attention backend.
        layouts: One per question, all with the same streams, behind the same number of tokens of
            the prefix.
        prefix: The run's encoded prefix, of which those are the first.
        in_rows: Whether every question has a copy of the prefix; None for what is faster.
        watch: Is shown what every layer attends to, in this pass and in those that follow.

    Returns:
        The batch, and one node per stream (question by question: fused, then alone) with
        the logits of its first token.
    """
    (num_prefix,) = {layout.num_prefix for layout in layouts}
    prefix = prefix.first(num_prefix)
    if in_rows is None:
        in_rows = prefix.in_rows(len(layouts), engine.model.device)
    cache = _new_cache(engine, len(layouts), prefix.layers, in_rows=in_rows)
    length = cache.num_prefix_slots
    bias_BGG = stacked_tables(layouts)
    batch = Batch(engine, cache, bias_BGG, padding_group=bias_BGG.shape[1] - 1, watch=watch)
    batch.used_B += length
    batch.key_group_BS = torch.zeros(len(layouts), length, dtype=torch.long)
    batch.key_position_BS = torch.arange(length).repeat(len(layouts), 1)
    rows, predictors, streams = [], [], []
    start = 0
    for row, layout in enumerate(layouts):
        rows += [row] * len(layout.token_ids)
        for stream in layout.streams:
            predictors.append(start + stream.predictor)
            streams.append((row, stream.group, stream.position))
        start += len(layout.token_ids)
    logits = batch.feed(
        torch.tensor([t for layout in layouts for t in layout.token_ids]),
        torch.tensor(rows),
        torch.tensor([g for layout in layouts for g in layout.groups]),
        torch.tensor([p for layout in layouts for p in layout.positions]),
        predictors,
        flat=engine.backend == "flex",
    )
    engine.counters.prompt_tokens += start
    table = torch.tensor(streams)
    return batch, Frontier(table[:, 0], table[:, 1], table[:, 2], logits)


def _new_cache(
    engine: Engine, num_rows: int, prefix: Layers, *, in_rows: bool
) -> RowCache | GraphRows:
    """What keeps the keys and values of so many questions; a graph always has them in rows."""
    if engine.model.graph is not None:
        return GraphRows(engine.model.graph, num_rows, prefix)
    return RowCache(num_rows, prefix, prefix_in_rows=in_rows)

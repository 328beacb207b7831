"""The prefix of a run and the prompts of a batch, encoded: what decoding starts from.

B questions, P prefix length, Hkv key-value heads, D head dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from self_ensemble.decoding.attached import AttachedModel
from self_ensemble.decoding.batch import Batch, Frontier
from self_ensemble.decoding.cache import RowCache
from self_ensemble.packing.layout import Layout, stacked_tables
from self_ensemble.packing.visibility import NEVER

# Prefix keys in all rows together from which one prefix for all is faster: below, putting its part
# and theirs together costs more than reading the copies.
SHARED_FROM = 1024


@dataclass(frozen=True, slots=True)
class Prefix:
    """The run-wide prefix, encoded: keys and values of every layer, `(P, Hkv, D)`."""

    token_ids: tuple[int, ...]
    layers: list[tuple[Tensor, Tensor]]


@dataclass(slots=True)
class Engine(AttachedModel):
    """Encodes the prefix of a run, and the prompts of a batch behind it."""

    @torch.inference_mode()
    def encode_prefix(self, token_ids: Sequence[int]) -> Prefix:
        """Encode the prefix once; every batch of the run starts from it."""
        if not token_ids:
            return Prefix((), [])
        cache = RowCache(num_rows=1)
        length = len(token_ids)
        batch = Batch(self, cache, torch.zeros(1, 2, 2), padding_group=1)
        batch.bias_BGG[:, :, 1] = NEVER
        zeros = torch.zeros(length, dtype=torch.long)
        batch.feed(torch.tensor(token_ids), zeros, zeros, torch.arange(length), [])
        self.counters.prefix_tokens += length
        layers = [
            # A copy: the buffers of the pass are rounded up and would be kept whole.
            (keys[0, :length].clone(), values[0, :length].clone())
            for keys, values in zip(cache.keys, cache.values, strict=True)
        ]
        return Prefix(tuple(token_ids), layers)

    @torch.inference_mode()
    def prefill(self, layouts: Sequence[Layout], prefix: Prefix) -> tuple["Batch", "Frontier"]:
        """Encode the segments and cues of a batch behind the prefix.

        Args:
            layouts: One per question, all with the same streams.
            prefix: The run's encoded prefix.

        Returns:
            The batch, and one node per stream (question by question: fused, then alone) with
            the logits of its first token.
        """
        in_rows = self.prefix_in_rows(len(layouts), prefix)
        cache = RowCache(len(layouts), prefix.layers, prefix_in_rows=in_rows)
        length = cache.num_prefix_slots
        bias_BGG = stacked_tables(layouts)
        batch = Batch(self, cache, bias_BGG, padding_group=bias_BGG.shape[1] - 1)
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
            flat=self.backend == "flex",
        )
        self.counters.prompt_tokens += start
        table = torch.tensor(streams)
        return batch, Frontier(table[:, 0], table[:, 1], table[:, 2], logits)

    def prefix_in_rows(self, num_rows: int, prefix: Prefix) -> bool:
        """Whether questions have copies of the prefix in their rows instead of sharing one."""
        shared = num_rows * len(prefix.token_ids) >= SHARED_FROM
        return self.model.device.type != "cpu" or not shared

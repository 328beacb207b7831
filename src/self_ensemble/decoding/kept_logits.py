"""Logits of decode steps in memory that is kept from one step to the next.

Large tensors are new memory at every step: the system maps it page by page as it is written, and
gets it back when the tensor is freed. For the logits of 200 nodes, 40 MB, that takes longer than
computing them. Here the output matrix writes into two buffers in turns, a few rows at a time.

M nodes of one step, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.models.load import LoadedModel
from self_ensemble.models.packed_linear import PackedLinear

# Allocations beyond this go back to the system as soon as they are freed (the limit of glibc).
LARGE = 1 << 25


@dataclass(slots=True)
class KeptLogits:
    """Two buffers `(M, V)`: the logits of a step stay as they are while the next is computed."""

    _buffers: list[Tensor] = field(default_factory=lambda: [torch.empty(0, 0)] * 2)

    @contextmanager
    def of_step(self, model: LoadedModel, num_nodes: int) -> Iterator[None]:
        """Have the model's float32 logits written into the buffers, where they are large."""
        head = model.model.get_output_embeddings()
        if (
            not isinstance(head, PackedLinear)
            or model.dtype != torch.float32
            or 4 * num_nodes * head.out_features <= LARGE
        ):
            yield
            return
        head.output_buffer = lambda num_rows: self._buffer(num_rows, head.out_features)
        try:
            yield
        finally:
            head.output_buffer = None

    def _buffer(self, num_rows: int, vocabulary: int) -> Tensor:
        """Of the two buffers the one that was not given out last, `(M, V)`."""
        buffer = self._buffers.pop(0)
        if len(buffer) < num_rows:
            # Nodes become more from step to step, and what is not written to takes no memory.
            buffer = torch.empty(2 * num_rows, vocabulary)
        self._buffers.append(buffer)
        return buffer[:num_rows]

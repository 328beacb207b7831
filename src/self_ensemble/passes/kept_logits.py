"""Logits of decode steps in memory that is kept from one step to the next.

Large tensors are new memory at every step: the system maps it page by page as it is written, and
gets it back when the tensor is freed. For the logits of 200 nodes, 40 MB, that takes about as long
as computing them. Here the output matrix writes into one buffer, a few rows at a time.

M nodes of one step, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.models.load import LoadedModel
from self_ensemble.models.openvino_passes import Graph
from self_ensemble.models.packed_linear import PackedLinear
from self_ensemble.passes.current_pass import one_at_a_time

# Allocations beyond this go back to the system as soon as they are freed (the limit of glibc).
LARGE = 1 << 25


@dataclass(slots=True)
class KeptLogits:
    """A buffer `(M, V)` for the logits of a step, which the next one overwrites."""

    _buffer: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    _helps: bool = True

    def of_step(self, model: LoadedModel, num_nodes: int, compute: Callable[[], Tensor]) -> Tensor:
        """Logits `(M, V)` of a step, in the buffer if they are large and float32."""
        head = model.graph or model.model.get_output_embeddings()
        if (
            not self._helps
            or not isinstance(head, PackedLinear | Graph)
            # A graph's logits are float32 whatever it computes in.
            or (model.graph is None and model.dtype != torch.float32)
            or 4 * num_nodes * head.out_features <= LARGE
        ):
            return compute()
        # The head is everybody's: other threads wait until the buffer is taken away again.
        with one_at_a_time(model.model):
            head.output_buffer = lambda num_rows: self._rows(num_rows, head.out_features)
            try:
                logits = compute()
            finally:
                head.output_buffer = None
        # Models that cap or scale what the output matrix gives make new tensors of it.
        kept, found = (one.untyped_storage().data_ptr() for one in (self._buffer, logits))
        self._helps = kept == found
        if not self._helps:
            self._buffer = torch.empty(0, 0)
        return logits

    def _rows(self, num_rows: int, vocabulary: int) -> Tensor:
        if len(self._buffer) < num_rows:
            # Nodes become more from step to step, and what is not written to takes no memory.
            self._buffer = torch.empty(2 * num_rows, vocabulary)
        return self._buffer[:num_rows]

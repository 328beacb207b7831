"""Passes of a model that OpenVINO makes, with the keys and values of what each has read.

T tokens, B questions, R most tokens of a question, S places of a row, M tokens whose logits are
wanted, N layers, Hkv key-value heads, D head dim, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

# Added to a score: no share, and still a number, which the kernels take.
HIDDEN = -1e30
# Values that lie there at once of each attention score, in every layer.
SCORES = 3


@dataclass(slots=True, eq=False)
class Graph:
    """A compiled graph, for any number of requests; see `models.openvino_graph`.

    Attributes:
        compiled: What OpenVINO made of the graph.
        windows: Sliding windows of the layers, each once.
        rotary: The model's rotary embedding.
        num_layers: Its layers, N.
        num_heads: Query heads, Hq.
        num_kv_heads: Key and value heads.
        head_dim: Size of a head.
        out_features: Size of the vocabulary.
        precision: OpenVINO's name of the type that it computes in.
        output_buffer: Where logits go, `(M, V)`, given M; None for memory of their own.
        most_pairs: Most pairs of a query and a key that a pass has had.
    """

    compiled: Any = field(repr=False)
    windows: tuple[int | None, ...]
    rotary: nn.Module = field(repr=False)
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    out_features: int
    precision: str
    output_buffer: Callable[[int], Tensor] | None = None
    most_pairs: int = 0

    def scores_bytes(self, num_pairs: int) -> int:
        """What a pass takes beyond those before, whose memory OpenVINO keeps for each layer."""
        size = 4 if self.precision == "f32" else 2
        more = max(0, num_pairs - self.most_pairs)
        return SCORES * size * self.num_layers * self.num_heads * more

    @property
    def place_bytes(self) -> int:
        """What keys and values of a place take in all layers."""
        size = 4 if self.precision == "f32" else 2
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * size

    def nothing(self, num_rows: int) -> list[Tensor]:
        """Keys and values of rows with a place that says nothing, 2N of `(B, Hkv, 1, D)`.

        A product over no places is none, so there is one, which is hidden.
        """
        one = torch.zeros(num_rows, self.num_kv_heads, 1, self.head_dim)
        return [one] * (2 * self.num_layers)


@dataclass(frozen=True, slots=True)
class Fed:
    """The tokens of a pass, and how they are laid out for attention.

    Attributes:
        token_ids: Tokens, `(T,)`.
        position_ids: Position of each, `(T,)`.
        lanes: Token of each place, `(B, R)`; any where there is none.
        back: Place of each token, as a number below B * R, `(T,)`.
        masks: Additive mask of each window over the prefix and all that is behind it, float32,
            `(B, 1, R, P + S)`; no row may be empty.
        at: Tokens whose logits are wanted, `(M,)`, one at least.
    """

    token_ids: Tensor
    position_ids: Tensor
    lanes: Tensor
    back: Tensor
    masks: Mapping[int | None, Tensor]
    at: Tensor


class Request:
    """Passes over a batch, one after the other: the prompts, then what comes later.

    Attributes:
        graph: The graph.
        num_later: Places behind the prompts.
    """

    def __init__(self, graph: Graph, prefix: Sequence[Tensor], num_rows: int) -> None:
        """Begin a batch.

        Args:
            graph: The graph.
            prefix: Keys and values that all rows read, 2N of `(1, Hkv, P, D)`; none for no prefix.
            num_rows: Questions.
        """
        self.graph, self.num_later = graph, 0
        self._request = graph.compiled.create_infer_request()
        # OpenVINO reads and writes the memory of these.
        self._arrays: dict[str, Any] = {}
        self._num_prefix = prefix[0].shape[2] if prefix else 0
        self._num_prompt = self._num_unused = 0
        self._give("prefix", prefix or graph.nothing(1))
        self._give("prompt", graph.nothing(num_rows))

    def run(self, fed: Fed) -> Tensor:
        """One pass; logits, float32, `(M, V)`."""
        graph, num_places = self.graph, fed.lanes.shape[1]
        cos, sin = graph.rotary(torch.empty(0), fed.position_ids[None])
        num_later = self.num_later + num_places
        sizes = self._sizes(num_later)
        given = {
            "tokens": fed.token_ids.int(), "lanes": fed.lanes.int(), "back": fed.back.int(),
            "at": fed.at.int(), "cos": cos[0], "sin": sin[0], "sizes": torch.tensor(sizes).int(),
        }  # fmt: skip
        for window, mask in fed.masks.items():
            given[f"mask.{window}"] = self._mask(mask, num_places, num_later)
        for name, one in given.items():
            self._set(name, one)
        num_logits = len(fed.at)
        if graph.output_buffer is None:
            logits = torch.empty(num_logits, graph.out_features)
        else:
            logits = graph.output_buffer(num_logits)
        self._arrays["logits"] = logits.numpy()
        self._request.set_output_tensor(0, _tensor(self._arrays["logits"]))
        self._request.infer()
        pairs = fed.lanes.numel() * sum(sizes)
        graph.most_pairs = max(graph.most_pairs, pairs)
        self.num_later = num_later
        return logits

    def brought(self) -> list[Tensor]:
        """Keys and values of the last pass, layer by layer, 2N of `(B, Hkv, R, D)`; copies."""
        outputs = range(1, 1 + 2 * self.graph.num_layers)
        found = (self._request.get_output_tensor(number).data for number in outputs)
        return [torch.from_numpy(one.copy()) for one in found]

    def keep_prompt(self, num_places: int) -> None:
        """Make what the first pass brought the prompts, which stay as they are.

        Args:
            num_places: How many of its places masks have a column for; the others are of no use.
        """
        brought = self.brought()
        self._num_prompt, self._num_unused = num_places, brought[0].shape[2] - num_places
        self._give("prompt", brought)
        self.forget(0)

    def forget(self, num_later: int) -> None:
        """Keep only the first places behind the prompts."""
        if num_later == 0:
            self._request.reset_state()
        elif num_later < self.num_later:
            for state in self._request.query_state():
                state.state = _tensor(np.ascontiguousarray(state.state.data[:, :, :num_later]))
        self.num_later = num_later

    def _sizes(self, num_later: int) -> tuple[int, int, int]:
        """Places of the three parts."""
        return max(1, self._num_prefix), max(1, self._num_prompt + self._num_unused), num_later

    def _mask(self, mask: Tensor, num_places: int, num_later: int) -> Tensor:
        """A mask as the graph takes it.

        It has numbers for what is hidden, a place for none, and places that are of no use: those
        read what the last one reads.
        """
        behind = mask.shape[3] - self._num_prefix - self._num_prompt
        prefix, prompt, later = torch.split(
            mask.clamp(min=HIDDEN), [self._num_prefix, self._num_prompt, behind], dim=3
        )
        sizes = self._sizes(num_later)
        more = num_places - mask.shape[2]
        parts = [
            pad(part, (0, size - part.shape[3]), value=HIDDEN)
            for part, size in zip((prefix, prompt, later), sizes, strict=True)
        ]
        whole = torch.cat(parts, dim=3)
        return torch.cat([whole, whole[:, :, -1:].expand(-1, -1, more, -1)], dim=2)

    def _give(self, name: str, layers: Sequence[Tensor]) -> None:
        for number, one in enumerate(layers):
            self._set(f"{name}.{number}", one)

    def _set(self, name: str, one: Tensor) -> None:
        self._arrays[name] = one.contiguous().numpy()
        self._request.set_tensor(name, _tensor(self._arrays[name]))


def _tensor(array: Any) -> Any:
    import openvino as ov

    return ov.Tensor(array, shared_memory=True)

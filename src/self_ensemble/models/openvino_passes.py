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

# Added to a score: no share, and still a number, which the kernels take.
HIDDEN = -1e30


@dataclass(slots=True, eq=False)
class Graph:
    """A compiled graph, for any number of requests; see `models.openvino_graph`.

    Attributes:
        compiled: What OpenVINO made of the graph.
        windows: Sliding windows of the layers, each once.
        rotary: The model's rotary embedding.
        num_layers: Its layers, N.
        num_kv_heads: Key and value heads.
        head_dim: Size of a head.
        out_features: Size of the vocabulary.
        precision: OpenVINO's name of the type that it computes in.
        output_buffer: Where logits go, `(M, V)`, given M; None for memory of their own.
    """

    compiled: Any = field(repr=False)
    windows: tuple[int | None, ...]
    rotary: nn.Module = field(repr=False)
    num_layers: int
    num_kv_heads: int
    head_dim: int
    out_features: int
    precision: str
    output_buffer: Callable[[int], Tensor] | None = None

    @property
    def place_bytes(self) -> int:
        """What keys and values of a place take in all layers."""
        size = 4 if self.precision == "f32" else 2
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * size

    def nothing_read(self, num_rows: int) -> Tensor:
        """Keys and values of rows without a place, `(2N, B, Hkv, 0, D)`."""
        return torch.zeros(2 * self.num_layers, num_rows, self.num_kv_heads, 0, self.head_dim)


@dataclass(frozen=True, slots=True)
class Laid:
    """How the tokens of a pass are laid out for attention.

    Attributes:
        lanes: Token of each place, `(B, R)`; any where there is none.
        rows: Row of what was read that each question goes on with, `(B,)`.
        masks: Additive mask of each window, float32, `(B, 1, R, S)`; no row may be empty.
    """

    lanes: Tensor
    rows: Tensor
    masks: Mapping[int | None, Tensor]

    @classmethod
    def unused(cls, size: int, windows: Sequence[int | None]) -> "Laid":
        """The way that a pass does not go, with so many rows and places."""
        masks = {window: torch.zeros(size, 1, size, size) for window in windows}
        return cls(torch.zeros(size, size), torch.zeros(size), masks)

    def inputs(self, way: str) -> dict[str, Tensor]:
        """The graph's inputs, by name."""
        found = {f"{way}.lanes": self.lanes.int(), f"{way}.rows": self.rows.int()}
        for window, mask in self.masks.items():
            found[f"{way}.mask.{window}"] = mask.clamp(min=HIDDEN)
        return found


@dataclass(frozen=True, slots=True)
class Fed:
    """The tokens of a pass.

    Attributes:
        token_ids: Tokens, `(T,)`.
        position_ids: Position of each, `(T,)`.
        back: Place of each token, as a number below B * R, `(T,)`.
        at: Tokens whose logits are wanted, `(M,)`, one at least.
    """

    token_ids: Tensor
    position_ids: Tensor
    back: Tensor
    at: Tensor


class Request:
    """Passes one after the other, each behind what those before have read.

    Attributes:
        graph: The graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._request = graph.compiled.create_infer_request()
        # OpenVINO reads and writes the memory of these.
        self._arrays: dict[str, Any] = {}

    def prompts(self, fed: Fed, laid: Laid, read: Tensor) -> Tensor:
        """A pass of many tokens a question; logits, float32, `(M, V)`.

        Args:
            fed: The tokens.
            laid: How they are laid out.
            read: Keys and values of what was read before, `(2N, B, Hkv, S, D)`.
        """
        # OpenVINO does not go on where a state gets nothing: here a place of no use.
        self._request.reset_state()
        steps = Laid.unused(1, self.graph.windows)
        return self._run(fed, laid, steps, read)

    def steps(self, fed: Fed, laid: Laid) -> Tensor:
        """A pass of a few tokens a question behind the state; logits, float32, `(M, V)`."""
        prompts = Laid.unused(0, self.graph.windows)
        return self._run(fed, prompts, laid, self.graph.nothing_read(0))

    def read(self) -> list[Any]:
        """Keys and values after a pass of prompts, layer by layer, 2N of `(B, Hkv, S, D)`.

        They are the request's memory, which the next pass overwrites.
        """
        outputs = range(1, 1 + 2 * self.graph.num_layers)
        return [self._request.get_output_tensor(number).data for number in outputs]

    def state(self) -> list[Any]:
        """Keys and values after a pass of steps, as `read`; copies."""
        held = {state.name: state.state.data for state in self._request.query_state()}
        layers = range(self.graph.num_layers)
        return [held[f"{kind}{layer}"] for layer in layers for kind in ("key", "value")]

    def remember(self, read: Sequence[Any]) -> None:
        """Let steps go on behind keys and values as `read` gives them."""
        import openvino as ov

        states = {state.name: state for state in self._request.query_state()}
        for number, array in enumerate(read):
            kind, layer = ("key", "value")[number % 2], number // 2
            states[f"{kind}{layer}"].state = ov.Tensor(np.ascontiguousarray(array))

    @torch.inference_mode()
    def _run(self, fed: Fed, prompts: Laid, steps: Laid, read: Tensor) -> Tensor:
        import openvino as ov

        graph = self.graph
        cos, sin = graph.rotary(torch.empty(0), fed.position_ids[None])
        given = {
            "tokens": fed.token_ids.int(), "back": fed.back.int(), "at": fed.at.int(),
            "cos": cos[0, :, None], "sin": sin[0, :, None], "prompts.read": read,
            **prompts.inputs("prompts"), **steps.inputs("steps"),
        }  # fmt: skip
        num_logits = len(fed.at)
        if graph.output_buffer is None:
            logits = torch.empty(num_logits, graph.out_features)
        else:
            logits = graph.output_buffer(num_logits)
        self._arrays = {name: one.contiguous().numpy() for name, one in given.items()}
        for name, array in self._arrays.items():
            self._request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self._arrays["logits"] = logits.numpy()
        out = ov.Tensor(self._arrays["logits"], shared_memory=True)
        self._request.set_output_tensor(0, out)
        self._request.infer()
        return logits

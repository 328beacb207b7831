"""A packed pass of a Llama-shaped model as one OpenVINO graph.

Matrix products see the tokens of all questions in one row. Attention sees them laid out, one row
a question, and reads what an additive mask allows.

    tokens   a a a b b c               the row of a pass
    lanes    a a a | b b . | c . .     what attention sees; a dot is a place without a token

It has two ways to what was read before, of which a pass goes one; the other has no rows then.
OpenVINO's kernel that keeps keys and values itself is made for a few queries a row, and the one
for many queries cannot keep them.

    prompts  keys and values come in, and those of the pass go out behind them
    steps    they are the graph's state, to which a pass appends as many places in all rows

T tokens, B questions, R most tokens of a question, S places of a row, M tokens whose logits are
wanted, N layers, E hidden size, Hq and Hkv heads, D head dim, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset6, opset13
from torch import nn
from transformers import PreTrainedModel

# By the names of `engines.ACTIVATIONS`.
ACTIVATIONS = {
    "silu": opset13.swish,
    "swish": opset13.swish,
    "gelu": lambda x: opset13.gelu(x, "erf"),
    "gelu_new": lambda x: opset13.gelu(x, "tanh"),
    "gelu_pytorch_tanh": lambda x: opset13.gelu(x, "tanh"),
}
BY_HEAD = np.array([0, 2, 1, 3])


PROMPTS, STEPS = "prompts", "steps"


def pass_graph(model: PreTrainedModel, windows: Sequence[int | None]) -> ov.Model:
    """The graph: tokens in, logits `(M, V)` of M of them out.

    Inputs are tokens `(T,)`, cos and sin `(T, 1, D)`, back `(T,)` (the place of each token) and at
    `(M,)`; of both ways lanes `(B, R)` (the token of each place, any where there is none), rows
    `(B,)` (the row that each question goes on with) and a mask `(B, 1, R, S)` for each kind of
    layer; and of prompts what was read before, `(2N, B, Hkv, S, D)`. Outputs beside logits are
    keys and values of prompts, layer by layer, `(B, Hkv, S, D)`.

    Args:
        model: The model; its linear layers are plain ones.
        windows: The sliding window of each layer.
    """
    return _Builder(model, windows).graph()


class _Way:
    """How attention gets at what was read before."""

    def __init__(self, name: str, windows: Sequence[int | None]) -> None:
        self.lanes = _input(f"{name}.lanes", ov.Type.i32, -1, -1)
        self.rows = _input(f"{name}.rows", ov.Type.i32, -1)
        self.masks = {
            window: _input(f"{name}.mask.{window}", ov.Type.f32, -1, 1, -1, -1)
            for window in dict.fromkeys(windows)
        }

    @property
    def inputs(self) -> list[Any]:
        return [self.lanes, self.rows, *self.masks.values()]

    def laid_out(self, tokens: Any) -> Any:
        """`(T, H, D)` as `(B, H, R, D)`."""
        rows = opset13.gather(tokens, self.lanes, opset13.constant(np.int64(0)))
        return opset13.transpose(rows, opset13.constant(BY_HEAD))


class _Builder:
    """What the layers of a graph have in common."""

    def __init__(self, model: PreTrainedModel, windows: Sequence[int | None]) -> None:
        self.model, self.windows = model, windows
        self.num_heads = int(model.config.num_attention_heads)
        self.num_kv_heads = int(model.config.num_key_value_heads)
        self.head_dim = int(model.model.layers[0].self_attn.head_dim)
        self.activation = ACTIVATIONS[model.config.hidden_act]
        self.tokens, self.back, self.at = (
            _input(name, ov.Type.i32, -1) for name in ("tokens", "back", "at")
        )
        self.cos, self.sin = (
            _input(name, ov.Type.f32, -1, 1, self.head_dim) for name in ("cos", "sin")
        )
        self.prompts, self.steps = _Way(PROMPTS, windows), _Way(STEPS, windows)
        self.read = _input(
            "prompts.read", ov.Type.f32, 2 * len(windows), -1, self.num_kv_heads, -1,
            self.head_dim,
        )  # fmt: skip
        self.prompt_masks = {
            window: self._for_each_head(mask) for window, mask in self.prompts.masks.items()
        }
        self.first = opset13.constant(np.int64(0))
        self.kept: list[Any] = []
        self.assigned: list[Any] = []

    def graph(self) -> ov.Model:
        """All layers, one on top of the other."""
        inner, head = self.model.model, self.model.get_output_embeddings()
        x = opset13.gather(_constant(inner.embed_tokens.weight), self.tokens, self.first)
        for index, layer in enumerate(inner.layers):
            read = self._attention(layer.self_attn, _normed(layer.input_layernorm, x), index)
            x = opset13.add(x, read)
            normed = _normed(layer.post_attention_layernorm, x)
            x = opset13.add(x, self._mlp(layer.mlp, normed))
        logits = _linear(head, _normed(inner.norm, opset13.gather(x, self.at, self.first)))
        inputs = [
            self.tokens, self.cos, self.sin, self.back, self.at, self.read,
            *self.prompts.inputs, *self.steps.inputs,
        ]  # fmt: skip
        outputs = [opset13.result(one) for one in (logits, *self.kept)]
        return ov.Model(outputs, self.assigned, inputs, "pass")

    def _mlp(self, mlp: Any, x: Any) -> Any:
        gate = self.activation(_linear(mlp.gate_proj, x))
        return _linear(mlp.down_proj, opset13.multiply(gate, _linear(mlp.up_proj, x)))

    def _attention(self, own: Any, x: Any, index: int) -> Any:
        query, key, value = (
            opset13.reshape(_linear(one, x), np.array([0, -1, self.head_dim]), True)
            for one in (own.q_proj, own.k_proj, own.v_proj)
        )
        if hasattr(own, "q_norm"):
            query, key = _normed(own.q_norm, query), _normed(own.k_norm, key)
        if getattr(own, "use_rope", True):
            query, key = (_rotated(one, self.cos, self.sin) for one in (query, key))
        scale = opset13.constant(np.float32(own.scaling))
        found = opset13.concat(
            [
                self._of_prompts(query, key, value, index, scale),
                self._of_steps(query, key, value, index, scale),
            ],
            0,
        )
        return _linear(own.o_proj, opset13.gather(found, self.back, self.first))

    def _of_prompts(self, query: Any, key: Any, value: Any, index: int, scale: Any) -> Any:
        """What the places of prompts read, `(B * R, Hq * D)`."""
        way, keys_and_values = self.prompts, []
        for place, new in ((2 * index, key), (2 * index + 1, value)):
            before = opset13.gather(self.read, opset13.constant(np.int64(place)), self.first)
            before = opset13.gather(before, way.rows, self.first)
            everything = opset13.concat([before, way.laid_out(new)], 2)
            self.kept.append(everything)
            keys_and_values.append(self._with_heads(everything, 1))
        # One row for each key head, which several query heads read.
        num_readers = self.num_heads // self.num_kv_heads
        found = opset13.scaled_dot_product_attention(
            self._with_heads(way.laid_out(query), num_readers),
            *keys_and_values,
            self.prompt_masks[self.windows[index]],
            scale,
            causal=False,
        )
        return self._by_place(self._with_heads(found, self.num_heads))

    def _of_steps(self, query: Any, key: Any, value: Any, index: int, scale: Any) -> Any:
        """What the places of steps read, `(B * R, Hq * D)`."""
        found = opset13.scaled_dot_product_attention(
            self.steps.laid_out(query),
            self._remembered(key, f"key{index}"),
            self._remembered(value, f"value{index}"),
            self.steps.masks[self.windows[index]],
            scale,
            causal=False,
        )
        return self._by_place(found)

    def _remembered(self, tokens: Any, name: str) -> Any:
        """All keys or values so far, those of this pass behind the others, `(B, Hq, S, D)`."""
        shape = ov.PartialShape([-1, self.num_kv_heads, -1, self.head_dim])
        num_rows = opset13.shape_of(self.steps.rows, "i64")
        none = opset13.broadcast(
            opset13.constant(np.float32(0)),
            opset13.concat(
                [num_rows, opset13.constant(np.array([self.num_kv_heads, 0, self.head_dim]))], 0
            ),
        )
        past = opset6.read_value(none, name, ov.Type.f32, shape)
        past = opset13.gather(past, self.steps.rows, self.first)
        everything = opset13.concat([past, self.steps.laid_out(tokens)], 2)
        self.assigned.append(opset6.assign(everything, name))
        # The plugin knows grouped heads by this.
        apart = opset13.unsqueeze(everything, opset13.constant(np.array([2])))
        times = np.array([1, 1, self.num_heads // self.num_kv_heads, 1, 1])
        apart = opset13.broadcast(apart, opset13.constant(times), broadcast_spec="BIDIRECTIONAL")
        return opset13.reshape(apart, np.array([0, self.num_heads, -1, self.head_dim]), True)

    def _with_heads(self, x: Any, num_heads: int) -> Any:
        """`(rows, heads, R, D)` with other heads, and as many rows as that makes."""
        return opset13.reshape(x, np.array([-1, num_heads, 0, self.head_dim]), True)

    def _by_place(self, found: Any) -> Any:
        """`(B, Hq, R, D)` as `(B * R, Hq * D)`."""
        width = np.array([-1, self.num_heads * self.head_dim])
        by_place = opset13.transpose(found, opset13.constant(BY_HEAD))
        return opset13.reshape(by_place, opset13.constant(width), False)

    def _for_each_head(self, mask: Any) -> Any:
        """`(B, 1, R, S)` as `(B * Hkv, 1, R, S)`."""
        times = opset13.constant(np.array([1, self.num_kv_heads, 1, 1]))
        each = opset13.broadcast(mask, times, broadcast_spec="BIDIRECTIONAL")
        return opset13.reshape(each, np.array([-1, 1, 0, 0]), True)


def _input(name: str, kind: Any, *shape: int) -> Any:
    parameter = opset13.parameter(list(shape), kind, name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _constant(tensor: Any) -> Any:
    # Without a copy where the tensor is float32.
    return opset13.constant(tensor.detach().float().numpy(), shared_memory=True)


def _linear(linear: nn.Linear, x: Any) -> Any:
    product = opset13.matmul(x, _constant(linear.weight), False, True)
    return product if linear.bias is None else opset13.add(product, _constant(linear.bias))


def _normed(norm: Any, x: Any) -> Any:
    """Root mean square norm, in the form that the plugin has a kernel for."""
    square = opset13.power(x, opset13.constant(np.float32(2)))
    mean = opset13.reduce_mean(square, opset13.constant(np.array([-1])), True)
    root = opset13.sqrt(opset13.add(mean, opset13.constant(np.float32(norm.variance_epsilon))))
    normed = opset13.multiply(x, opset13.divide(opset13.constant(np.float32(1)), root))
    return opset13.multiply(normed, _constant(norm.weight))


def _rotated(x: Any, cos: Any, sin: Any) -> Any:
    """Rotary embedding of `(T, H, D)`."""
    one, other = opset13.split(x, opset13.constant(np.int64(2)), 2).outputs()
    turned = opset13.concat([opset13.multiply(other, opset13.constant(np.float32(-1))), one], 2)
    return opset13.add(opset13.multiply(x, cos), opset13.multiply(turned, sin))

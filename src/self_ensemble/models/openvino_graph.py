"""A packed pass of a Llama-shaped model as one OpenVINO graph.

Matrix products see the tokens of all questions in one row; `models.openvino_attention` says what
attention sees.

T tokens, M of them whose logits are wanted, N layers, Hkv key heads, P places of the prefix, D
head dim, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13
from torch import nn
from transformers import PreTrainedModel

from self_ensemble.models.openvino_attention import Attention, Heads
from self_ensemble.models.openvino_ops import (
    ACTIVATIONS,
    gathered,
    integers,
    linear,
    linear_in_8_bits,
    named_input,
    normed,
    repeated,
    reshaped,
    rotated,
    side_by_side,
    weights,
)

Linear = Callable[[nn.Linear, Any], Any]


def pass_graph(
    model: PreTrainedModel, windows: Sequence[int | None], *, in_8_bits: bool = False
) -> ov.Model:
    """The graph: tokens in, logits `(M, V)` of M of them out.

    Inputs are tokens `(T,)`, cos and sin `(T, D)`, at `(M,)`, and those of attention. Outputs
    beside logits are keys and values of the pass, layer by layer, `(B, Hkv, R, D)`.

    Args:
        model: The model; its linear layers are plain ones.
        windows: The sliding window of each layer.
        in_8_bits: Whether weights of linear layers are rounded to 8 bits.
    """
    return _Builder(model, windows, linear_in_8_bits if in_8_bits else linear).graph()


class _Builder:
    """What the layers of a graph have in common."""

    def __init__(
        self, model: PreTrainedModel, windows: Sequence[int | None], linear: Linear
    ) -> None:
        self.model, self.windows, self.linear = model, windows, linear
        self.heads = Heads(
            int(model.config.num_attention_heads),
            int(model.config.num_key_value_heads),
            int(model.model.layers[0].self_attn.head_dim),
        )
        self.activation = ACTIVATIONS[model.config.hidden_act]
        self.tokens, self.at = (named_input(name, ov.Type.i32, -1) for name in ("tokens", "at"))
        self.cos, self.sin = (
            named_input(name, ov.Type.f32, -1, self.heads.size) for name in ("cos", "sin")
        )
        self.turns: dict[tuple[float, bool], list[Any]] = {}
        self.attention = Attention(windows, self.heads)

    def graph(self) -> ov.Model:
        """All layers, one on top of the other."""
        inner, head = self.model.model, self.model.get_output_embeddings()
        x = gathered(weights(inner.embed_tokens.weight), self.tokens)
        for index, layer in enumerate(inner.layers):
            own = layer.self_attn
            read = self._attention(own, normed(layer.input_layernorm, x), index)
            if layer is inner.layers[-1]:
                # What comes now concerns each token by itself.
                x, read = gathered(x, self.at), gathered(read, self.at)
            x = opset13.add(x, self.linear(own.o_proj, read))
            x = opset13.add(x, self._mlp(layer.mlp, normed(layer.post_attention_layernorm, x)))
        logits = self.linear(head, normed(inner.norm, x))
        inputs = [self.tokens, self.cos, self.sin, self.at, *self.attention.inputs]
        outputs = [opset13.result(one) for one in (logits, *self.attention.brought)]
        return ov.Model(outputs, inputs, "pass")

    def _mlp(self, mlp: Any, x: Any) -> Any:
        gate = self.activation(self.linear(mlp.gate_proj, x))
        return self.linear(mlp.down_proj, opset13.multiply(gate, self.linear(mlp.up_proj, x)))

    def _attention(self, own: Any, x: Any, index: int) -> Any:
        """What tokens read, `(T, Hq * D)`."""
        # One product and one rotation for all three, which a few tokens notice.
        x = self.linear(side_by_side([own.q_proj, own.k_proj, own.v_proj]), x)
        x = reshaped(x, 0, -1, self.heads.size)
        if hasattr(own, "q_norm"):
            query, key, value = self.heads.parted(x, 1)
            query, key = normed(own.q_norm, query), normed(own.k_norm, key)
            x = opset13.concat([query, key, value], 1)
        x = rotated(x, *self._turns(own.scaling, getattr(own, "use_rope", True)))
        return self.attention.read(x, index)

    def _turns(self, scale: float, is_turned: bool) -> list[Any]:
        """Cosines and sines of each head, `(1, T, H, D)`: queries are scaled, values stay."""
        if (scale, is_turned) not in self.turns:
            heads = self.heads
            cos, sin = (opset13.unsqueeze(one, integers(0, 2)) for one in (self.cos, self.sin))
            zero, none = (opset13.multiply(sin, opset13.constant(np.float32(0))) for _ in range(2))
            one = opset13.add(zero, opset13.constant(np.float32(1)))
            cos, sin = (cos, sin) if is_turned else (one, zero)
            factor = opset13.constant(np.float32(scale))
            self.turns[scale, is_turned] = [
                opset13.concat(
                    [
                        repeated(opset13.multiply(own, factor), 1, 1, heads.queries, 1),
                        repeated(own, 1, 1, heads.keys, 1),
                        repeated(of_values, 1, 1, heads.keys, 1),
                    ],
                    2,
                )
                for own, of_values in ((cos, one), (sin, none))
            ]
        return self.turns[scale, is_turned]

"""Small parts of an OpenVINO graph, in the forms that its CPU plugin has kernels for.

T tokens, H heads, D head dim.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13
from torch import Tensor, nn

# By the names of `engines.ACTIVATIONS`.
ACTIVATIONS = {
    "silu": opset13.swish,
    "swish": opset13.swish,
    "gelu": lambda x: opset13.gelu(x, "erf"),
    "gelu_new": lambda x: opset13.gelu(x, "tanh"),
    "gelu_pytorch_tanh": lambda x: opset13.gelu(x, "tanh"),
}


def named_input(name: str, kind: Any, *shape: int) -> Any:
    """An input, with -1 for sizes that change from pass to pass."""
    parameter = opset13.parameter(list(shape), kind, name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def integers(*values: int) -> Any:
    """A constant vector."""
    return opset13.constant(np.array(values, np.int64))


def weights(tensor: Any) -> Any:
    """A model's tensor; without a copy where it is float32."""
    return opset13.constant(tensor.detach().float().numpy(), shared_memory=True)


def size(x: Any, axis: int) -> int:
    """A size that is the same in every pass."""
    shape = x.get_partial_shape() if isinstance(x, ov.Output) else x.get_output_partial_shape(0)
    return int(shape[axis].get_length())


def gathered(x: Any, places: Any) -> Any:
    """Rows of x."""
    return opset13.gather(x, places, opset13.constant(np.int64(0)))


def reshaped(x: Any, *shape: int) -> Any:
    """With another shape; 0 for a size that stays, -1 for what is left."""
    return opset13.reshape(x, integers(*shape), True)


def transposed(x: Any, *order: int) -> Any:
    """With axes in another order."""
    return opset13.transpose(x, integers(*order))


def repeated(x: Any, *times: int) -> Any:
    """With axes of size 1 as often as said, and 1 for the others."""
    return opset13.broadcast(x, integers(*times), broadcast_spec="BIDIRECTIONAL")


def linear(layer: nn.Linear, x: Any) -> Any:
    """A linear layer."""
    return _with_bias(layer, opset13.matmul(x, weights(layer.weight), False, True))


def side_by_side(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One linear layer with the outputs of several."""
    biases: list[Tensor] = [one.bias for one in layers if one.bias is not None]
    assert len(biases) in (0, len(layers)), "all of them, or none"
    whole = nn.Linear(1, 1, bias=bool(biases))
    joined = torch.cat([one.weight for one in layers])
    whole.weight = nn.Parameter(joined, requires_grad=False)
    if biases:
        whole.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return whole


def linear_in_8_bits(layer: nn.Linear, x: Any) -> Any:
    """A linear layer whose weights are rounded to 8 bits, with a scale for each output."""
    whole = layer.weight.detach().float()
    scale = (whole.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
    rounded = opset13.constant((whole / scale).round().to(torch.int8).numpy())
    # The plugin keeps them so by this form, and rounds x as it comes.
    restored = opset13.multiply(opset13.convert(rounded, "f32"), opset13.constant(scale.numpy()))
    return _with_bias(layer, opset13.matmul(x, restored, False, True))


def _with_bias(layer: nn.Linear, product: Any) -> Any:
    return product if layer.bias is None else opset13.add(product, weights(layer.bias))


def normed(norm: Any, x: Any) -> Any:
    """Root mean square norm."""
    square = opset13.power(x, opset13.constant(np.float32(2)))
    mean = opset13.reduce_mean(square, integers(-1), True)
    root = opset13.sqrt(opset13.add(mean, opset13.constant(np.float32(norm.variance_epsilon))))
    scaled = opset13.multiply(x, opset13.divide(opset13.constant(np.float32(1)), root))
    return opset13.multiply(scaled, weights(norm.weight))


def rotated(x: Any, cos: Any, sin: Any) -> Any:
    """Rotary embedding of `(T, H, D)`; cos and sin are `(1, T, H, D)`."""
    half = size(x, 2) // 2
    whole = opset13.unsqueeze(x, integers(0))
    one, other = split(whole, 3, integers(half, half))
    turned = opset13.concat([opset13.multiply(other, opset13.constant(np.float32(-1))), one], -1)
    found = opset13.add(opset13.multiply(whole, cos), opset13.multiply(turned, sin))
    return opset13.squeeze(found, integers(0))


def split(x: Any, axis: int, sizes: Any) -> list[Any]:
    """Parts of x with these sizes."""
    parts = opset13.variadic_split(x, opset13.constant(np.int64(axis)), sizes)
    return list(parts.outputs())

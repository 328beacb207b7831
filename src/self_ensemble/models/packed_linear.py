"""Linear layers whose weights lie in oneDNN's own blocked layout.

A plain linear layer on a CPU has its weights rearranged by the matrix library in every call.
That is nothing for a thousand tokens and most of the time for the few dozen tokens of a decode
step, and some libraries are also slow on processors of other makers. Weights that are packed
once serve every call. Sums are those of the plain layer up to rounding.
"""

import torch
from torch import Tensor, nn

PACKED_TYPES = (torch.float32, torch.bfloat16)


class PackedLinear(nn.Module):
    """`x W^T + b` with packed weights; x is `(..., in_features)`.

    It takes the place of an `nn.Linear`, and can be turned back into it.
    """

    def __init__(self, linear: nn.Linear, *, is_shared: bool) -> None:
        """Pack a layer's weights.

        Args:
            linear: The layer, on the CPU, in one of `PACKED_TYPES`.
            is_shared: Whether its weights are also another module's. If not, they are taken away
                from it, and the packed ones are the only ones.
        """
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        weight = linear.weight.detach()
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        # In a tuple, so that it is no part of this module.
        self._linear = (linear,)
        self._is_shared = is_shared
        if not is_shared:
            linear.weight.data = weight.new_empty(0)

    @property
    def weight(self) -> Tensor:
        """The weights in the plain layout, `(out_features, in_features)`; a copy."""
        return self._packed.to_dense()

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self._packed, self.bias, "none", [], ""
        )
        return outputs

    def plain(self) -> nn.Linear:
        """The layer as it was, with its weights; this one is not to be used any more."""
        (linear,) = self._linear
        if not self._is_shared:
            linear.weight.data = self.weight
        return linear

    def extra_repr(self) -> str:
        """What `print` shows of the layer."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this machine's torch can pack weights of a type for a device."""
    if device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    supported: bool = dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return supported


def pack_linears(model: nn.Module) -> None:
    """Pack every linear layer of a model on the CPU; packed ones stay as they are."""
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    plain = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        # Not a subclass: what it adds would be lost.
        if type(child) is nn.Linear and child.weight.dtype in PACKED_TYPES
    ]
    for parent, name, child in plain:
        setattr(parent, name, PackedLinear(child, is_shared=owners[id(child.weight)] > 1))


def release_file(model: nn.Module) -> None:
    """Copy what weights were not packed, so that the file that they lie in can be unmapped."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def unpack_linears(model: nn.Module) -> None:
    """Give a model its plain linear layers back; shared weights are shared again."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, PackedLinear):
                setattr(parent, name, child.plain())

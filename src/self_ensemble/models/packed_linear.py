"""Linear layers whose weights lie in oneDNN's own blocked layout, for inference on a CPU.

A plain linear layer on a CPU has its weights rearranged by the matrix library in every call.
That is nothing for a thousand tokens and most of the time for the few dozen tokens of a decode
step, and some libraries are also slow on processors of other makers. Weights that are packed
once serve every call. Sums are those of the plain layer up to rounding.
"""

from collections.abc import Callable
from typing import Any, NoReturn, TypeGuard

import torch
from torch import Tensor, nn

from self_ensemble.errors import UserError

HOOKS = ("_forward_hooks", "_forward_pre_hooks")
# Outputs that are computed and then copied to a buffer: as much as the allocator gives out again.
BYTES_AT_ONCE = 1 << 24


class PackedLinear(nn.Module):
    """`x W^T + b` with packed weights; x is `(..., in_features)`.

    It takes the place of an `nn.Linear`, and can be turned back into it. It computes and no more:
    it cannot be saved, copied or moved to another device or type.

    Attributes:
        output_buffer: Where outputs go, `(rows, out_features)`, given the number of rows; None
            for memory of their own.
    """

    output_buffer: Callable[[int], Tensor] | None = None

    def __init__(self, linear: nn.Linear, *, is_shared: bool) -> None:
        """Pack a layer's weights.

        Args:
            linear: The layer; `can_pack` holds for its weights.
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
        if self.output_buffer is None:
            return self._product(inputs)
        rows = inputs.flatten(0, -2)
        outputs = self.output_buffer(len(rows))
        at_once = max(1, BYTES_AT_ONCE // (outputs.itemsize * self.out_features))
        for part, place in zip(
            torch.split(rows, at_once), torch.split(outputs, at_once), strict=True
        ):
            place.copy_(self._product(part))
        return outputs.view(*inputs.shape[:-1], self.out_features)

    def _product(self, inputs: Tensor) -> Tensor:
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

    # PyTorch does not know of the packed weights: each of these would leave them out in silence.

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PackedLinear":
        probe = fn(torch.empty(0, dtype=self._packed.dtype))
        if probe.device.type != "cpu" or probe.dtype != self._packed.dtype:
            _refuse("moved to another device or type")
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _save_to_state_dict(self, *arguments: Any) -> None:
        _refuse("saved")

    def _load_from_state_dict(self, *arguments: Any) -> None:
        _refuse("given other weights")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        _refuse("copied")


def _refuse(what: str) -> NoReturn:
    raise UserError(
        f"A model with packed linear layers cannot be {what}. Load it anew, with packed=False.",
        "SE-0310",
    )


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this machine's torch can pack weights of a type for a device."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    supported: bool = dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return supported


def pack_linears(model: nn.Module) -> None:
    """Pack every plain linear layer on a CPU whose type allows it; all else stays as it is."""
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    # By layer, because one layer may stand in several places.
    packed: dict[int, PackedLinear] = {}
    for parent, name, child in _children(model):
        if id(child) not in packed and _is_plain(child):
            packed[id(child)] = PackedLinear(child, is_shared=owners[id(child.weight)] > 1)
        if id(child) in packed:
            setattr(parent, name, packed[id(child)])


def unpack_linears(model: nn.Module) -> None:
    """Give a model its plain linear layers back; shared weights are shared again."""
    for parent, name, child in _children(model):
        if isinstance(child, PackedLinear):
            setattr(parent, name, child.plain())


def release_file(model: nn.Module) -> None:
    """Copy what weights were not packed, so that the file that they lie in can be unmapped."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def _children(model: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Every place of a module: its parent and its name there."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if child is not None
    ]


def _is_plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a linear layer and nothing more: what is added to one would be lost."""
    return (
        type(module) is nn.Linear
        # Quantised weights call themselves by the type that they stand for.
        and type(module.weight.data) is Tensor
        and can_pack(module.weight.device, module.weight.dtype)
        and "forward" not in vars(module)
        and not any(getattr(module, hooks) for hooks in HOOKS)
    )

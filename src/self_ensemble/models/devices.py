"""Which device a model runs on, and which layer lies where."""

from collections import Counter
from dataclasses import dataclass

import torch
from rich.table import Table
from transformers import PreTrainedModel

from self_ensemble.errors import UserError, unknown_name

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    # Weights of linear layers; all else is float32.
    "int8": torch.int8,
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model's weights go.

    Attributes:
        device: Device of the model's input.
        spread: Whether the layers are spread over every visible GPU, starting at `device`.
    """

    device: torch.device
    spread: bool = False


def resolve_device(asked: str) -> Placement:
    """Turn `--device` into a place that exists on this machine.

    "auto" takes CUDA, then MPS, then the CPU. "auto" and "cuda" use every visible GPU; "cuda:N"
    uses one.

    Args:
        asked: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        UserError: The name is unknown or the device is absent.
    """
    kind, _, index = asked.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (
        ":" in asked and not (kind == "cuda" and index.isascii() and index.isdigit())
    ):
        raise unknown_name("device", asked, ["auto", "cpu", "cuda", "cuda:N", "mps"])
    if kind == "cuda" or (kind == "auto" and torch.cuda.is_available()):
        return _cuda(asked, int(index) if index else None)
    has_mps = torch.backends.mps.is_available()
    if kind == "mps" and not has_mps:
        raise UserError(
            "Device 'mps' was asked for, but PyTorch finds none. Use --device cpu.", "SE-0401"
        )
    if kind == "mps" or (kind == "auto" and has_mps):
        return Placement(torch.device("mps"))
    return Placement(torch.device("cpu"))


def resolve_dtype(asked: str, device: torch.device) -> torch.dtype:
    """Turn `--dtype` into a torch type; "auto" is bfloat16 on CUDA and float32 elsewhere.

    Raises:
        UserError: The name is unknown.
    """
    if asked == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if asked not in DTYPES:
        raise unknown_name("dtype", asked, ["auto", *DTYPES])
    return DTYPES[asked]


def layer_devices(model: PreTrainedModel) -> dict[str, int]:
    """Count the decoder layers on each device, in the order of the layers.

    Layers whose weights are kept off the devices until they are needed count as "offloaded".
    """
    return dict(Counter(_device_name(layer) for layer in _decoder_layers(model)))


def device_table(num_layers: dict[str, int]) -> Table:
    """A table of how many layers lie on which device."""
    table = Table("device", title="Layers")
    table.add_column("layers", justify="right")
    for device, count in num_layers.items():
        table.add_row(device, str(count))
    return table


def _cuda(asked: str, index: int | None) -> Placement:
    num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if num_devices == 0:
        build = "a build for CUDA" if torch.version.cuda else "built without CUDA"
        raise UserError(
            f"Device {asked!r} was asked for, but PyTorch finds no CUDA device "
            f"(torch {torch.__version__} is {build}). Use --device cpu.",
            "SE-0401",
        )
    if index is None:
        return Placement(torch.device("cuda:0"), spread=num_devices > 1)
    if index >= num_devices:
        raise UserError(
            f"Device {asked!r} was asked for, but the CUDA devices here are cuda:0 to "
            f"cuda:{num_devices - 1}.",
            "SE-0401",
        )
    return Placement(torch.device("cuda", index))


def _decoder_layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The list of decoder layers, which families keep under different names: the longest one."""
    lists = (module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    return max(lists, key=len)


def _device_name(layer: torch.nn.Module) -> str:
    weight = next(layer.parameters(), None)
    if weight is None:
        return "cpu"  # the only place of packed layers, whose weights are no parameters
    return "offloaded" if weight.device.type == "meta" else str(weight.device)

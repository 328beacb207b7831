"""What this machine can do, measured on the spot: a large matrix product and a large copy."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from self_ensemble.models.packed_linear import PackedLinear, can_pack

MATRIX_SIZE = {"cpu": 2048, "cuda": 8192, "mps": 4096}
COPY_BYTES = {"cpu": 2**28, "cuda": 2**31, "mps": 2**29}
PRODUCTS, COPIES = 2, 3


@dataclass(slots=True)
class Ceilings:
    """The best rates seen so far.

    Measured in every round, between the rivals, so that both see the machine in the same moods.
    The best counts: a ceiling that was measured while others used the cores would flatter us.

    Attributes:
        device: Where to measure.
        dtype: The model's type.
        flops_per_s: FLOP/s of a large matrix product, by the library that is faster here.
        bytes_per_s: Bytes read and written per second by a large copy.
    """

    device: torch.device
    dtype: torch.dtype
    flops_per_s: float = 0.0
    bytes_per_s: float = 0.0
    _products: list[Callable[[], object]] = field(init=False)
    _copy: Callable[[], object] = field(init=False)

    def __post_init__(self) -> None:
        size = MATRIX_SIZE[self.device.type]
        one, other, result = (
            torch.ones(size, size, dtype=self.dtype, device=self.device) for _ in range(3)
        )
        source = torch.ones(COPY_BYTES[self.device.type], dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        self._products = [lambda: torch.mm(one, other, out=result)]
        if can_pack(self.device, self.dtype):
            packed = PackedLinear(_linear(other), is_shared=True)
            self._products.append(lambda: packed(one))
        self._copy = lambda: target.copy_(source)

    @torch.inference_mode()
    def measure(self) -> None:
        """Measure again and keep the best."""
        product_s = min(
            seconds(self.device, product) for product in self._products for _ in range(PRODUCTS)
        )
        copy_s = min(seconds(self.device, self._copy) for _ in range(COPIES))
        size, num_bytes = MATRIX_SIZE[self.device.type], COPY_BYTES[self.device.type]
        self.flops_per_s = max(self.flops_per_s, 2.0 * size**3 / product_s)
        self.bytes_per_s = max(self.bytes_per_s, 2.0 * num_bytes / copy_s)


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear


def seconds(device: torch.device, action: Callable[[], Tensor | object]) -> float:
    """Wall-clock time of an action, work on the device included."""
    wait_for(device)
    start = time.perf_counter()
    action()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

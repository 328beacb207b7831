"""Values that are described whole: plain ones, JSON, and numbers in bulk."""

import math
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self_ensemble.errors import reading
from self_ensemble.identity.bytecode import code_parts
from self_ensemble.identity.files import digest_of, digest_of_json

# JSON that is longer stands as its digest.
MAX_SHOWN = 200
# Values inside values.
MAX_DEPTH = 40
_SAID_BY_REPR = (
    *(complex, range, slice, Path, types.EllipsisType, types.NotImplementedType),
    *(torch.dtype, torch.device, torch.Size),
)


def tensor_digest(tensor: torch.Tensor) -> str:
    """Digest of a dense tensor's type, shape and elements."""
    elements = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    return digest_of(head + elements.tobytes())


def plain(value: object) -> tuple[object] | None:
    """What JSON has a form of, or a text says all of; None for anything else."""
    if value is None or type(value) is bool:
        return (value,)
    if type(value) is int:
        # Python refuses to write very large ones in decimal.
        return (value if abs(value) < 1 << 63 else hex(value),)
    if type(value) is float:
        return (value if math.isfinite(value) else repr(value),)
    if type(value) is str:
        return (value if len(value) <= MAX_SHOWN else digest_of(value),)
    if type(value) is bytes or type(value) is bytearray:
        return (digest_of(bytes(value)),)
    if isinstance(value, _SAID_BY_REPR):
        return (repr(value),)
    if isinstance(value, np.generic | np.dtype):
        return (f"{type(value).__name__} {value}",)
    if isinstance(value, types.CodeType):
        return (digest_of_json(code_parts(value)),)
    return None


def is_json(value: object, depth: int = 0) -> bool:
    """Whether a value is JSON as it is; told fast, because tables may be large."""
    kind = type(value)
    if depth > MAX_DEPTH:
        return False
    if kind is list or kind is tuple:
        return all(is_json(one, depth + 1) for one in value)  # type: ignore[attr-defined]
    if kind is dict:
        pairs: dict[object, object] = value  # type: ignore[assignment]
        return all(type(key) is str and is_json(one, depth + 1) for key, one in pairs.items())
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    return (
        value is None or kind is bool or kind is str or (kind is int and plain(value) == (value,))
    )


def numbers(value: Any) -> object:
    """Digest of an array or tensor; a random generator by its state.

    Raises:
        UserError: A tensor is not dense.
    """
    if isinstance(value, torch.Generator):
        return {"device": str(value.device), "state": tensor_digest(value.get_state())}
    with reading(type(value).__name__, "It has to be dense."):
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                return digest_of_json(value.tolist())
            return digest_of(f"{value.dtype.str} {value.shape} ".encode() + value.tobytes())
        return tensor_digest(value)

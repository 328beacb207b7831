"""Values that are described whole: plain ones, numbers in bulk, and bytecode."""

import math
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self_ensemble.errors import reading
from self_ensemble.identity.files import digest_of, digest_of_json

# JSON that is longer stands as its digest.
MAX_SHOWN = 200


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
    if isinstance(value, complex | range | slice | torch.dtype | torch.device | torch.Size | Path):
        return (repr(value),)
    if isinstance(value, np.generic | np.dtype):
        return (f"{type(value).__name__} {value}",)
    if value is Ellipsis or value is NotImplemented or isinstance(value, types.CodeType):
        return (
            digest_of_json(code_parts(value))
            if isinstance(value, types.CodeType)
            else repr(value),
        )
    return None


def numbers(value: Any) -> object:
    if isinstance(value, torch.Generator):
        return {"device": str(value.device), "state": tensor_digest(value.get_state())}
    with reading(type(value).__name__, "It has to be dense."):
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                return digest_of_json(value.tolist())
            return digest_of(f"{value.dtype.str} {value.shape} ".encode() + value.tobytes())
        return tensor_digest(value)


def code_parts(code: types.CodeType) -> list[object]:
    """What a piece of bytecode does; not where it stands."""
    constants = [
        code_parts(one) if isinstance(one, types.CodeType) else _constant(one)
        for one in code.co_consts
    ]
    return [
        code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags,
        code.co_exceptiontable.hex(), constants,
    ]  # fmt: skip


def _constant(value: object) -> str:
    # The order of a frozenset of texts differs from process to process.
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)

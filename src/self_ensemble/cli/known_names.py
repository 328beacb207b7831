"""Names that options take, checked before anything heavy is imported: each is a callback.

What a name stands for is found where it is used, in modules that import torch; a test holds the
messages of both equal.
"""

import re

from self_ensemble.errors import unknown_name
from self_ensemble.results.paths import METHODS

ATTENTION = ("auto", "sdpa", "flex", "eager")
ATTRIBUTION = ("mass", "leave_one_out", "shapley", "share")
CHAT_TEMPLATE = ("auto", "on", "off")
DECODE = ("tree", "captured", "compiled")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")
DTYPE = ("auto", "bfloat16", "float16", "float32", "int8")
ENGINE = ("openvino", "torch")
FUSION_POINT = ("cue", "last_segment")
POSITIONS = ("aligned", "contiguous")


def attention(value: str | None) -> str | None:
    """A backend of attention."""
    return _one_of("attention backend", value, ATTENTION)


def attribution(value: str | None) -> str | None:
    """Kinds of attribution, with commas between."""
    for name in (part.strip() for part in (value or "").split(",")):
        if name:
            _one_of("kind of attribution", name, ATTRIBUTION)
    return value


def chat_template(value: str | None) -> str | None:
    """Whether the model's chat template is used."""
    return _one_of("chat template setting", value, CHAT_TEMPLATE)


def decode(value: str | None) -> str | None:
    """A way to decode."""
    return _one_of("way to decode", value, DECODE)


def device(value: str | None) -> str | None:
    """A device."""
    if value is not None and DEVICE.fullmatch(value) is None:
        raise unknown_name("device", value, ["auto", "cpu", "cuda", "cuda:N", "mps"])
    return value


def dtype(value: str | None) -> str | None:
    """A type of numbers."""
    return _one_of("dtype", value, DTYPE)


def engine(value: str | None) -> str | None:
    """What makes the passes."""
    return _one_of("engine", value, ENGINE)


def fusion_point(value: str | None) -> str | None:
    """Where the answer begins."""
    return _one_of("fusion point", value, FUSION_POINT)


def methods(values: list[str]) -> list[str]:
    """Methods, some with commas between; of the user's own rules only that they are some."""
    for name in (part.strip() for value in values for part in value.split(",")):
        if name and name not in METHODS and name != "all" and ":" not in name:
            raise unknown_name("method", name, [*METHODS, "module:function"])
    return values


def positions(value: str | None) -> str | None:
    """How positions are counted."""
    return _one_of("positions", value, POSITIONS)


def _one_of(kind: str, value: str | None, known: tuple[str, ...]) -> str | None:
    if value is not None and value not in known:
        raise unknown_name(kind, value, known)
    return value

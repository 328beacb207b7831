"""The pass that is going on, for layers that lose the argument which says so.

A pass travels to the attention function as a keyword argument of `model.forward`. Some
architectures do not hand such arguments down (StableLM, Nemotron), so it is also kept here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CURRENT: ContextVar[object] = ContextVar("pass", default=None)


@contextmanager
def going_on(packed: object) -> Iterator[None]:
    """Say which pass the model is called for."""
    token = _CURRENT.set(packed)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_pass() -> object:
    """The pass that is going on in this thread, or None."""
    return _CURRENT.get()

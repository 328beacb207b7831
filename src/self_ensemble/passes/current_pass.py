"""The pass that is going on, for layers that lose the argument which says so.

A pass travels to the attention function as a keyword argument of `model.forward`. Some
architectures do not hand such arguments down (StableLM, Nemotron), so it is also kept here.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol
from weakref import WeakKeyDictionary

from torch import Tensor, nn

# Attention over packed questions, as the model's layers ask for it; see `passes.attention`.
Backend = Callable[..., Tensor]


class Pass(Protocol):
    """What the model is called for; it knows what its tokens may read."""

    def attend(
        self, backend: Backend, query: Tensor, key: Tensor, value: Tensor, layer: int,
        scale: float, window: int | None, softcap: float | None, sinks_H: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """What the queries of a layer read, `(1, T, Hq, D)`; queries are `(1, Hq, T, D)`."""


# Of each model: whose pass it is. A pass sets the model's attention and writes into buffers of its
# layers, so two at once would be in each other's way, besides sharing its processors.
_TURNS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_TURNS_LOCK = threading.Lock()
# Whether anybody still waits for what this thread computes.
_WANTED: ContextVar[Callable[[], bool] | None] = ContextVar("wanted", default=None)
_CURRENT: ContextVar[Pass | None] = ContextVar("pass", default=None)


@contextmanager
def going_on(packed: Pass) -> Iterator[None]:
    """Say which pass the model is called for."""
    token = _CURRENT.set(packed)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_pass() -> Pass | None:
    """The pass that is going on in this thread, or None."""
    return _CURRENT.get()


def one_at_a_time(model: nn.Module) -> threading.RLock:
    """What a pass of a model holds, where several threads ask it."""
    with _TURNS_LOCK:
        return _TURNS.setdefault(model, threading.RLock())


class GivenUp(Exception):  # noqa: N818 - nothing is wrong
    """Nobody waits for the result any more."""


@contextmanager
def while_wanted(is_wanted: Callable[[], bool]) -> Iterator[None]:
    """End whatever is computed in here before the pass at which nobody waits for it any more.

    Args:
        is_wanted: Is asked before every pass, and may change its mind in another thread.

    Raises:
        GivenUp: It said no.
    """
    token = _WANTED.set(is_wanted)
    try:
        yield
    finally:
        _WANTED.reset(token)


def check_wanted() -> None:
    """Go on only if somebody waits.

    Raises:
        GivenUp: Nobody does.
    """
    is_wanted = _WANTED.get()
    if is_wanted is not None and not is_wanted():
        raise GivenUp

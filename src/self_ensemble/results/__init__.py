"""Results that survive a kill: where they lie, what they hold, how they are written.

`load` reads them back; it is of the stage above, `analysis`, and imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self_ensemble.analysis.load import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("self_ensemble.analysis.load").load

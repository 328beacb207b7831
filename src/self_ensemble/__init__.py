"""Ask a causal language model the same question in N wordings and fuse them into one answer."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self_ensemble.asking import Answer as Answer
    from self_ensemble.asking import Request as Request
    from self_ensemble.asking import Settings as Settings
    from self_ensemble.ensemble import Ensemble as Ensemble
    from self_ensemble.errors import UserError as UserError
    from self_ensemble.models.load import LoadedModel as LoadedModel
    from self_ensemble.models.load import load_model as load_model
    from self_ensemble.questions.load import load_questions as load_questions

__version__ = "0.1.0"

_WHERE = {
    "Answer": "asking",
    "Ensemble": "ensemble",
    "Request": "asking",
    "Settings": "asking",
    "LoadedModel": "models.load",
    "UserError": "errors",
    "load_model": "models.load",
    "load_questions": "questions.load",
}
__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so nothing is imported before it is asked for.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)

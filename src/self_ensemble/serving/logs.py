"""One line of JSON for each request and each failure; no prompt, unless asked for."""

import json
import logging
import sys
import traceback
from pathlib import Path

from self_ensemble.asking.request import Unanswered
from self_ensemble.errors import UserError

_LOGGER = logging.getLogger("self_ensemble.serving")


def log_to_stderr(*, only_failures: bool = False) -> None:
    """Send the lines to standard error, or only those of failures."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _LOGGER.handlers = [handler]
    _LOGGER.setLevel(logging.WARNING if only_failures else logging.INFO)
    _LOGGER.propagate = False


def log_line(**fields: object) -> None:
    """Write a line of a request."""
    _write(logging.INFO, fields)


def log_failure(error: BaseException) -> None:
    """Write where a bug is; not what it says, which may hold a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
    fields = {"event": "failure", "error": type(error).__name__, "where": where}
    code = {"code": error.code} if isinstance(error, UserError) else {}
    _write(logging.ERROR, {**fields, **code})


def log_unanswered(outcome: Unanswered) -> None:
    """Write that a method has no answer; of a rule, which knows no prompt, also what it said."""
    said = {"said": outcome.error} if outcome.code == "SE-0605" else {}
    told = {"event": "failure", "method": outcome.method, "code": outcome.code}
    _write(logging.ERROR, {**told, **said})


def _write(level: int, fields: dict[str, object]) -> None:
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, json.dumps(fields, ensure_ascii=True, default=str))

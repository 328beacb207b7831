"""One line of JSON for each request and each failure; no prompt, unless asked for."""

import json
import logging
import sys
import traceback
from pathlib import Path

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
    _write(logging.ERROR, {"event": "failure", "error": type(error).__name__, "where": where})


def _write(level: int, fields: dict[str, object]) -> None:
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, json.dumps(fields, ensure_ascii=True, default=str))

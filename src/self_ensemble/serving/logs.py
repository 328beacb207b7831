"""One line of JSON for each request and each failure; no prompt, unless asked for."""

import json
import logging
import sys
import traceback
from pathlib import Path

_LOGGER = logging.getLogger("self_ensemble.serving")


def log_to_stderr() -> None:
    """Send the lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _LOGGER.handlers = [handler]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def log_line(**fields: object) -> None:
    """Write a line."""
    if _LOGGER.isEnabledFor(logging.INFO):
        _LOGGER.info(json.dumps(fields, ensure_ascii=True, default=str))


def log_failure(error: BaseException) -> None:
    """Write where a bug is; not what it says, which may hold a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
    log_line(event="failure", error=type(error).__name__, where=where)

"""A chat template is a program that came with a model: it runs with limits, in a child process.

Templates that loop for ever or build gigabytes are stopped; the process with the model in it goes
on. Rendering happens a few times a run.
"""

import json
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress

import psutil
from jinja2 import TemplateError

from self_ensemble.errors import UserError

LIMIT_S = 10.0
LIMIT_BYTES = 1 << 30  # beyond what the process has already
LONGEST = 1 << 24  # of a rendered conversation, in bytes
REMEDY = "Use --chat-template off."


def render_limited(render: Callable[[], object]) -> str:
    """Call a renderer in a child process that is limited in time, memory and output.

    Args:
        render: Renders a conversation to text.

    Raises:
        TemplateError: The template refuses the conversation, or is none.
        UserError: It takes too long or too much, or gives no text.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Forking with threads about: the child calls the template and nothing else.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            child = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            raise UserError(
                "This model's chat template is rendered in a process of its own, and the system "
                f"refuses one ({error.strerror}). Free some memory. {REMEDY}",
                "SE-0502",
            ) from error
    if child == 0:
        _become_renderer(render, writer)
    os.close(writer)
    try:
        answer = _read_all(reader, time.monotonic() + LIMIT_S)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer is None:
        raise UserError(
            f"This model's chat template takes longer than {LIMIT_S:.0f} s, more than "
            f"{LIMIT_BYTES >> 30} GiB, or does not end. {REMEDY}",
            "SE-0502",
        )
    kind, text = json.loads(answer)
    if kind == "refused":
        raise TemplateError(text)
    if kind == "failed":
        raise UserError(
            f"This model's chat template fails on the prompt ({text}). {REMEDY}", "SE-0502"
        )
    return str(text)


def _become_renderer(render: Callable[[], object], writer: int) -> None:
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        most = psutil.Process().memory_info().vms + LIMIT_BYTES
        # Not every system has it; the limits of time and output hold everywhere.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        answer = _answer(render)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    finally:
        # Whatever happens here, nothing of the parent's may be done twice.
        os._exit(0)


def _answer(render: Callable[[], object]) -> tuple[str, str]:
    try:
        text = render()
    except TemplateError as error:
        return "refused", str(error)
    except Exception as error:  # noqa: BLE001 - a template can raise anything
        return "failed", f"{type(error).__name__}: {str(error)[:200]}"
    if not isinstance(text, str):
        return "failed", f"it gives {type(text).__name__}, not text"
    return "text", text


def _read_all(reader: int, deadline: float) -> bytes | None:
    """All that the child writes; None if it does not end in time, ends without, or is too much."""
    parts: list[bytes] = []
    size = 0
    while size <= LONGEST:
        if not select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(parts) or None
        parts.append(part)
        size += len(part)
    return None

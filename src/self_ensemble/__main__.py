"""Entry point: `self-ensemble`, or `python -m self_ensemble`.

It imports nothing that takes time before it listens to signals, so that Ctrl-C ends the command in
one line while libraries load, too.
"""

import atexit
import gc
import os
import signal
import sys
import threading
from types import FrameType

STOPPED = b"Error: Stopped.\n"
# New objects before garbage is looked for, instead of 700: libraries make a million while they
# load, which all stay.
NEW_OBJECTS = 50_000


def run() -> None:
    """Run the command line and exit with its code."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        # A library may swallow the first one, or hold it up in a loop of its own.
        if received:
            os.write(2, STOPPED)
            os._exit(128 + number)
        received.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
    try:
        code = _run()
        if not (code == 130 and received):
            _finish()
    except BaseException:
        # Libraries turn an interrupt while they are imported into errors of their own.
        if not received:
            raise
        os.write(2, STOPPED)
        code = 130
    if code == 130 and received:
        # At once: at the end of a process libraries wait for what is half made.
        os._exit(128 + received[0])
    if _is_watched():
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads any more
            code = code or 1
    # Taking apart what libraries have loaded would take a second.
    os._exit(code)


def _finish() -> None:
    """What the interpreter does first at its end: threads end, what is registered is run."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _is_watched() -> bool:
    """Whether a debugger, profiler or measure of coverage waits for the end."""
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    watchers = [sys.gettrace(), sys.getprofile(), sys.flags.interactive]
    return any(watchers) or bool(monitoring and any(map(monitoring.get_tool, range(6))))


def _run() -> int:
    from self_ensemble.cli.main import main

    # A name that no encoding has (a file's bytes, a terminal's control characters) is no error.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return main(sys.argv[1:])


if __name__ == "__main__":
    run()

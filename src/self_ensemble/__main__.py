"""Entry point: `self-ensemble`, or `python -m self_ensemble`.

It imports nothing that takes time before it listens to signals, so that Ctrl-C ends the command in
one line while libraries load, too.
"""

import atexit
import os
import signal
import sys
import threading
from types import FrameType

STOPPED = b"Error: Stopped.\n"


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
    try:
        code = _run()
    except BaseException:
        # Libraries turn an interrupt while they are imported into errors of their own.
        if not received:
            raise
        os.write(2, STOPPED)
        code = 130
    if code == 130 and received:
        # At once: at the end of a process libraries wait for what is half made.
        os._exit(128 + received[0])
    _leave(code)


def _leave(code: int) -> None:
    """End the process without taking apart what libraries have loaded, which takes a second."""
    # What the interpreter does first: threads end, then what is registered for the end is run.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads any more
            code = code or 1
    os._exit(code)


def _run() -> int:
    from self_ensemble.cli.main import main

    # A name that no encoding has (a file's bytes, a terminal's control characters) is no error.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return main(sys.argv[1:])


if __name__ == "__main__":
    run()

"""Ends a Ray that was started for one run, when the run ends or its process is killed.

It is run as a program of its own, which needs neither torch nor Ray:

    python watchdog.py FOLDER < a pipe that the driver holds the other end of

A process that is killed cannot clean up, and some of Ray's live on for a minute. All of them have
their log files open, in Ray's folder of temporary files; so they are told by that.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

import psutil

# Paths of sockets end at 103 characters (macOS), of which Ray takes 64 and the folder's name 16.
LONGEST = 23
# So long nothing may be found before it is taken for the end: processes may be starting.
SURE_AFTER_S = 1.0
PATIENCE_S = 20.0
LOOK_EVERY_S = 0.1


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for Ray's temporary files; it goes with all processes that use it.

    When the block ends, and when this process does, however that happens.
    """
    place = str(Path(gettempdir()).resolve())
    folder = Path(mkdtemp(prefix="se-ray-", dir=place if len(place) <= LONGEST else "/tmp"))
    watchdog = subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for the driver.
        start_new_session=True,
    )
    assert watchdog.stdin is not None
    try:
        yield folder
    finally:
        with suppress(BrokenPipeError):
            # Not only the end of the pipe: a fork of this process may hold it, too.
            watchdog.stdin.write(b".")
            watchdog.stdin.close()
        watchdog.wait()


def end_all(folder: Path, but: psutil.Process | None = None) -> None:
    """Kill all processes that have files of a folder open, but for one, and remove it."""
    begun = seen = time.monotonic()
    while (now := time.monotonic()) - begun < PATIENCE_S and now - seen < SURE_AFTER_S:
        for process in users_of(folder):
            if process != but:
                seen = now
                with suppress(psutil.Error):
                    process.kill()
        time.sleep(LOOK_EVERY_S)
    shutil.rmtree(folder, ignore_errors=True)


def users_of(folder: Path) -> list[psutil.Process]:
    """The processes that have a file of the folder open."""
    found = []
    # As the system tells what is open.
    folder = folder.resolve()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(Path(file.path).is_relative_to(folder) for file in process.open_files()):
                found.append(process)
    return found


if __name__ == "__main__":
    driver = psutil.Process(os.getppid())
    sys.stdin.buffer.read(1)
    # One that lives still writes Ray's log.
    end_all(Path(sys.argv[1]), but=driver)

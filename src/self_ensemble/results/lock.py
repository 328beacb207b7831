"""One process at a time: a lock that the kernel takes back however its holder dies."""

import fcntl
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.results.disk import OUTPUT_DIR


@dataclass(frozen=True, slots=True)
class FileLock:
    """A lock file held by this process.

    The file's content (process and host) serves messages only; what locks is `flock` on the open
    file, so a file left behind by a killed process or a reboot locks nothing.
    """

    path: Path
    descriptor: int

    @classmethod
    def acquire(cls, path: Path, output_option: str = OUTPUT_DIR) -> "FileLock":
        """Take the lock.

        Raises:
            UserError: Another process, or another `FileLock` of this one, holds it.
        """
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 1024, 0).decode(errors="replace")
                os.close(descriptor)
                raise UserError(
                    f"{holder or 'Another process'} is writing the result locked by {path}. "
                    f"Wait until it ends, or choose another {output_option}.",
                    "SE-0705",
                ) from error
            except OSError as error:
                os.close(descriptor)
                raise UserError(
                    f"Cannot lock {path}: {error.strerror or error}. Two runs at once would mix "
                    f"their rows, so the file system must offer locks; choose another "
                    f"{output_option}.",
                    "SE-0706",
                ) from error
            # The holder before us may have deleted the file between our open and our flock; then
            # the lock is on a file without a name, and the next process would make a new one.
            if _is_at(path, descriptor):
                break
            os.close(descriptor)
        # On a full disk the holder has no name; the lock is what counts.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"Process {os.getpid()} on {platform.node()}".encode(), 0)
        return cls(path, descriptor)

    def close(self) -> None:
        """Give the lock back and delete its file."""
        # Deleted while still held, so that nobody else's lock file can be hit. Where the disk
        # refuses, the file stays and locks nothing: the work is done, and that is no error.
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        with suppress(OSError):
            os.close(self.descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False

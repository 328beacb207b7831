"""Interference with what this process does to files under a folder, one operation at a time.

Python tells an audit hook of most operations before they happen; a hook that raises stops them.
Of the others (`fsync`, `stat`, `close`, reads and writes of an open file) it does not tell, so the
process is given ones that do. Meant for a forked process, which keeps it until it ends.
"""

import errno
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

AUDITED = {
    "open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir",
    "os.link", "os.symlink", "os.chmod", "os.truncate", "fcntl.flock",
}  # fmt: skip
# Of os, with a path or a file descriptor first.
UNTOLD = ("stat", "fstat", "fsync", "close", "pread", "pwrite", "ftruncate")

Interfere = Callable[[str], object]
HALF = "half"


class Interference:
    """A function is called before each operation on a file under a folder.

    Attributes:
        inside: How paths under the folder begin.
        with_operation: Is given the operation's name ("os.rename", "write", ...). It may raise;
            or return `HALF`, for a write that puts only half of the bytes down.
        descriptors: Open files under the folder.
        busy: What `with_operation` does itself is left alone.
    """

    def __init__(self, folder: Path, with_operation: Interfere) -> None:
        self.inside = f"{folder}/"
        self.with_operation = with_operation
        self.descriptors: set[int] = set()
        self.busy = False
        self.io_open, self.os_open = io.open, os.open

    def begin(self) -> None:
        for name in UNTOLD:
            setattr(os, name, partial(self._call, name, getattr(os, name)))
        io.open, os.open = self._open_file, self._open
        sys.addaudithook(self._audit)

    def tell(self, name: str) -> object:
        if self.busy:
            return None
        self.busy = True
        try:
            return self.with_operation(name)
        finally:
            self.busy = False

    def _ours(self, target: object) -> bool:
        if isinstance(target, int):
            return target in self.descriptors
        return isinstance(target, str | Path) and f"{target}/".startswith(self.inside)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in AUDITED and self._ours(args[0]):
            self.tell(event)

    def _call(
        self, name: str, real: Callable[..., Any], target: Any, *args: Any, **kw: Any
    ) -> Any:
        ours = self._ours(target)
        if name == "close":
            # A close that fails has closed.
            self.descriptors.discard(target)
            real(target)
            real = lambda target: None
        if ours:
            self.tell(name)
        return real(target, *args, **kw)

    def _open(self, path: Any, *args: Any, **kw: Any) -> int:
        descriptor = self.os_open(path, *args, **kw)
        if self._ours(path):
            self.descriptors.add(descriptor)
        return descriptor

    def _open_file(self, file: Any, mode: str = "r", *args: Any, **kw: Any) -> Any:
        if not self._ours(file) or "b" not in mode or "opener" in kw:
            return self.io_open(file, mode, *args, **kw)
        raw = _File(file, mode.replace("b", ""))
        raw.tell_of = self.tell
        self.descriptors.add(raw.fileno())
        return io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)


class _File(io.FileIO):
    tell_of: Interfere = staticmethod(lambda name: None)

    def write(self, data: Any) -> int:
        if self.tell_of("write") == HALF:
            data = bytes(data)[: (len(data) + 1) // 2]
        return super().write(data)

    def readall(self) -> bytes:
        self.tell_of("read")
        return super().readall()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.tell_of("close")


def interfere(folder: Path, with_operation: Interfere) -> None:
    """Have a function called before each operation on a file under a folder; see above."""
    Interference(folder, with_operation).begin()


def at(number: int, do: Interfere, *, lasting: bool = False) -> Interfere:
    """Do something at the `number`-th operation, from 1; with `lasting`, at each later one too."""
    count = 0

    def step(name: str) -> object:
        nonlocal count
        count += 1
        return do(name) if count == number or (lasting and count > number) else None

    return step


def fail(code: int) -> Interfere:
    """Let an operation fail with an error of the operating system."""

    def raise_it(name: str) -> None:
        raise OSError(code, os.strerror(code))

    return raise_it


def write_half(then: int | None) -> Interfere:
    """Let a write put half of its bytes down, and the next one fail."""
    writes = 0

    def step(name: str) -> object:
        nonlocal writes
        if name != "write":
            return None
        writes += 1
        if writes > 1 and then is not None:
            fail(then)(name)
        return HALF

    return step


def number_of_operations(run: Callable[[Callable[[], None]], object], folder: Path) -> int:
    """How many operations a run does on files under a folder.

    Args:
        run: Runs something, after what it is given, in a process of its own.
        folder: The folder.
    """
    with open(f"{folder}.count", "wb") as counted:
        run(lambda: interfere(folder, lambda name: os.write(counted.fileno(), b".")))
    return os.stat(counted.name).st_size


# What disks and file systems say when they refuse.
REFUSALS = (
    errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOLCK,
    errno.EOPNOTSUPP, errno.ENOENT, errno.ESTALE, errno.EMFILE,
)  # fmt: skip

"""Files that are whole or not there, and disk troubles told in one line."""

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from self_ensemble.errors import UserError, reading
from self_ensemble.identity import checksum
from self_ensemble.identity.checksum import DamagedError

# The option that says where results go, for messages; `paraphrase` has another one.
OUTPUT_DIR = "--output-dir"
REPAIR = "Run the command that made it again, with --repair: it is set aside and made anew."

# What the system says of a file that is broken, and not only out of reach.
DAMAGE = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.EISDIR})


@contextmanager
def naming_disk_errors(path: Path, output_option: str = OUTPUT_DIR) -> Iterator[None]:
    """Turn what the operating system refuses (full, read-only, ...) into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}. "
            "Free or unlock the place and run the same command again, "
            f"or choose another {output_option}.",
            "SE-0701",
        ) from error


def check_writable(folder: Path, output_option: str = OUTPUT_DIR) -> None:
    """Make the folder if need be, and make sure that a file can be made in it.

    Args:
        folder: The folder.
        output_option: The option with which the user chose it.

    Raises:
        UserError: It cannot, with the reason of the operating system.
    """
    with naming_disk_errors(folder, output_option):
        in_the_way = [
            p for p in (folder, *folder.parents) if os.path.lexists(p) and not p.is_dir()
        ]
        if in_the_way:
            raise UserError(
                f"Cannot write to {folder}: {in_the_way[-1]} is not a folder. "
                f"Move it away or choose another {output_option}.",
                "SE-0701",
            )
        folder.mkdir(parents=True, exist_ok=True)
        # Without a name where the system can do that, so that a kill leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder):
            pass


def sync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temp_path(path: Path) -> Path:
    """Where a file lies while it is written: beside it, because a rename stays on one disk."""
    return path.with_name(f".{path.name}.tmp")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either as it was or whole, however the process ends.

    Args:
        path: The file.
        content: All of its bytes.
    """
    temp = temp_path(path)
    try:
        with temp.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)
    except OSError:
        with suppress(OSError):
            temp.unlink()
        raise
    sync(path.parent)


def write_table(path: Path, table: pa.Table, metadata: Mapping[bytes, bytes]) -> None:
    """Write a table atomically as a feather file (version 2, that is an Arrow IPC file).

    Args:
        path: The file.
        table: Its rows.
        metadata: What else it says of itself; its checksum comes beside it.
    """
    described = table.replace_schema_metadata({checksum.ARROW_KEY: checksum.BLANK, **metadata})
    sink = pa.BufferOutputStream()
    # Threads would take longer to be woken than a batch to be compressed.
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_file(sink, described.schema, options=options) as writer:
        writer.write_table(described)
    write_atomically(path, checksum.seal(sink.getvalue().to_pybytes()))


def read_bytes(path: Path, remedy: str) -> bytes:
    """Read a file of ours.

    Raises:
        DamagedError: What it stood on is damaged.
        UserError: It cannot be read for another reason.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in DAMAGE:
            raise DamagedError(path, f"it cannot be read ({reason})", remedy) from error
        raise UserError(
            f"Cannot read {path}: {reason}. Make it readable and run the same command again.",
            "SE-0702",
        ) from error


def read_table(path: Path, remedy: str = REPAIR) -> pa.Table:
    """Read what `write_table` wrote, once its checksum is found right.

    Args:
        path: The file.
        remedy: What the user can do about damage, a sentence.

    Raises:
        DamagedError: It is not as it was written.
        UserError: It cannot be read.
    """
    content = read_bytes(path, remedy)
    # Before pyarrow sees it: on damaged lengths it has crashed the process.
    fault = checksum.problem(content)
    if fault is not None:
        raise DamagedError(path, fault, remedy)
    with reading(path, remedy), pa.ipc.open_file(pa.py_buffer(content)) as reader:
        table: pa.Table = reader.read_all()
    return table

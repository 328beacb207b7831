"""Files that are whole or not there, and disk troubles told in one line."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from self_ensemble.errors import UserError

# The option that says where results go, for messages; `paraphrase` has another one.
OUTPUT_DIR = "--output-dir"


@contextmanager
def naming_disk_errors(path: Path, output_option: str = OUTPUT_DIR) -> Iterator[None]:
    """Turn what the operating system refuses (full, read-only, ...) into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror}. "
            "Free or unlock the place and run the same command again, "
            f"or choose another {output_option}."
        ) from error


def check_writable(folder: Path, output_option: str = OUTPUT_DIR) -> None:
    """Make the folder if need be, and make sure that a file can be made in it.

    Args:
        folder: The folder.
        output_option: The option with which the user chose it.

    Raises:
        UserError: It cannot, with the reason of the operating system.
    """
    in_the_way = [p for p in (folder, *folder.parents) if os.path.lexists(p) and not p.is_dir()]
    if in_the_way:
        raise UserError(
            f"Cannot write to {folder}: {in_the_way[-1]} is not a folder. "
            f"Move it away or choose another {output_option}."
        )
    with naming_disk_errors(folder, output_option):
        folder.mkdir(parents=True, exist_ok=True)
        # Without a name where the system can do that, so that a kill leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder):
            pass


def sync_folder(folder: Path) -> None:
    """Make the folder's list of names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes | pa.Buffer, *, temp_folder: Path) -> None:
    """Write a file that is either as it was or whole, however the process ends.

    Args:
        path: The file.
        content: All of its bytes.
        temp_folder: Where the unfinished file lies, as `<name>.tmp`; on the same file system.
    """
    temp = temp_folder / f"{path.name}.tmp"
    with temp.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, path)
    sync_folder(path.parent)


def write_table(path: Path, table: pa.Table, *, temp_folder: Path) -> None:
    """Write a table atomically as a feather file (version 2, that is an Arrow IPC file)."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    write_atomically(path, sink.getvalue(), temp_folder=temp_folder)


def read_table(path: Path) -> pa.Table:
    """Read a feather file and check all of it.

    Raises:
        UserError: It is missing, or damaged, or no feather file.
    """
    try:
        with pa.ipc.open_file(pa.py_buffer(path.read_bytes())) as reader:
            table: pa.Table = reader.read_all()
        table.validate(full=True)
    # A damaged column name is decoded by pyarrow's Python side.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as a feather file ({reason}). Delete it and run the same "
            "command again (what was in it is asked again), or use --overwrite to start anew."
        ) from error
    return table

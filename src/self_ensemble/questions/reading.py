"""The bytes of a user's file, unpacked, and their text."""

import codecs
import hashlib
import lzma
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from self_ensemble.errors import UserError, reading
from self_ensemble.identity.checksum import DamagedError, check_sidecar, claims_checksum, problem

# A packed file of a few kilobytes can hold more than any memory.
LARGEST_BYTES = 4 * 2**30
PIECE_BYTES = 2**20
_PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
PACKED_SUFFIXES = tuple(_PACKED)


class Content(NamedTuple):
    """A file's bytes.

    Attributes:
        data: Unpacked.
        sha256: Hash of the bytes on disk, in hex.
    """

    data: bytes
    sha256: str


def kind_of(path: Path) -> str:
    """The suffix that names the kind of file, in lower case: ".jsonl" of "q.JSONL.gz"."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _PACKED else suffix


def name_of(path: Path) -> str:
    """What the file is called without the suffixes that name its kind and packing."""
    return Path(path.stem).stem if path.suffix.lower() in _PACKED else path.stem


def read_content(path: Path) -> Content:
    """Read a file, and unpack it where its name says that it is packed.

    Raises:
        UserError: There is no such file, it is not a file, or it cannot be read or unpacked.
    """
    data = read_bytes(path)
    _check_undamaged(path, data)
    packing = _PACKED.get(path.suffix.lower())
    unpacked = data if packing is None or not data else _unpack(path, data, packing)
    return Content(unpacked, hashlib.sha256(data).hexdigest())


def _check_undamaged(path: Path, data: bytes) -> None:
    """Refuse a file of ours that is not as it was written; other people's have no checksum."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        check_sidecar(path, data)
    fault = problem(data) if suffix == ".feather" and claims_checksum(data) else None
    if fault is not None:
        raise DamagedError(path, fault, "Make it anew, with --repair where the command has it.")


def read_bytes(path: Path) -> bytes:
    """Read a file whole.

    Raises:
        UserError: There is no such file, it is not a file, too large, or cannot be read.
    """
    with opening(path):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path} is a folder. Give a file.", "SE-0102")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(
            f"{path} is a device, a pipe or a socket, not a file. Give a file.", "SE-0102"
        )
    if status.st_size > LARGEST_BYTES:
        raise UserError(
            f"{path} has {status.st_size / 2**30:.1f} GiB. Give 4 GiB or less.", "SE-0102"
        )
    with opening(path):
        return path.read_bytes()


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a path into one line."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Check the path.", "SE-0101") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{str(path)!r} cannot be read: {reason}. Check the path.", "SE-0101"
        ) from None


def is_folder(path: Path) -> bool:
    """Whether a path is that of a folder; a path that the system cannot look at is an error."""
    with opening(path):
        return path.is_dir()


def is_file(path: Path) -> bool:
    """Whether a path is that of a file; a path that the system cannot look at is an error."""
    with opening(path):
        return path.is_file()


def names_in(folder: Path) -> list[str]:
    """What a folder holds, in order."""
    with opening(folder):
        return sorted(path.name for path in folder.iterdir())


def _unpack(path: Path, data: bytes, packing: str) -> bytes:
    remedy = "It is damaged, cut short or not what its name says. Pack it anew."
    buffer = pa.BufferReader(data)
    with reading(path, remedy):
        if packing == "xz":
            with lzma.LZMAFile(buffer) as packed:
                unpacked = _read_all(path, packed)
        else:
            with pa.CompressedInputStream(buffer, packing) as stream:
                unpacked = _read_all(path, stream)
    return unpacked


def _read_all(path: Path, stream: Any) -> bytes:
    """All of a stream, in pieces: pyarrow takes memory for all that is asked for, and keeps it."""
    parts: list[bytes] = []
    size = 0
    while part := stream.read(PIECE_BYTES):
        parts.append(bytes(part))
        size += len(part)
        if size > LARGEST_BYTES:
            raise UserError(f"{path} has more than 4 GiB unpacked. Give less at once.", "SE-0102")
    return b"".join(parts)


def decode(path: Path, data: bytes, encoding: str | None) -> str:
    """Decode text that is UTF-8, or whatever the user says it is.

    Raises:
        UserError: The bytes are not of that encoding, or hold a NUL character. The message names
            the place and the encoding to give, where the bytes tell.
    """
    text = _decode(path, data, encoding).removeprefix("\ufeff")
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        hint = "Remove it; the file must be text."
        wide = _encoding_without_mark(data) if encoding is None else None
        if wide:
            hint = f"The bytes look like {wide}: give --encoding {wide}."
        raise UserError(f"{path}:{line}: holds a NUL byte. {hint}", "SE-0103")
    return text


def _decode(path: Path, data: bytes, encoding: str | None) -> str:
    try:
        return data.decode("utf-8-sig" if encoding is None else encoding)
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        found = f"byte 0x{data[at]:02x} at offset {at:,}" if at < len(data) else "it is cut short"
        line = data.count(b"\n", 0, at) + 1
        expected = encoding or "UTF-8"
        raise UserError(
            f"{path}:{line}: not valid {expected} ({found}). {_remedy(data, encoding)}", "SE-0103"
        ) from None
    except (LookupError, ValueError):  # no such codec, one from bytes to bytes, a NUL in its name
        raise UserError(
            f"Got --encoding {encoding}, which is no encoding of texts. "
            "Give one such as utf-8, utf-16, cp1252, latin-1, shift_jis or gb18030.",
            "SE-0103",
        ) from None


def _remedy(data: bytes, encoding: str | None) -> str:
    if encoding is not None:
        return "Give the encoding that the file was written with."
    mark = _encoding_by_mark(data)
    if mark:
        return f"It begins with the mark of {mark}: give --encoding {mark}, or save it as UTF-8."
    wide = _encoding_without_mark(data)
    if wide:
        return f"The bytes look like {wide}: give --encoding {wide}, or save it as UTF-8."
    return (
        "Save the file as UTF-8, or give the encoding that it was written with, such as "
        "--encoding cp1252 (Windows, Excel)."
    )


def _encoding_by_mark(data: bytes) -> str | None:
    # UTF-32's mark begins with UTF-16's.
    marks = {
        codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
    }  # fmt: skip
    return next((name for mark, name in marks.items() if data.startswith(mark)), None)


def _encoding_without_mark(data: bytes) -> str | None:
    if re.match(rb"(?:[^\0]\0){2}", data):
        return "utf-16-le"
    return "utf-16-be" if re.match(rb"(?:\0[^\0]){2}", data) else None

"""The content of files as short digests; those of large files are kept between runs.

A digest tells whether a file is the one that it was, against accidents and not against an
attacker, so it is XXH3: 128 bits, at 10 GB/s, where SHA-256 takes a second for each GB.

A kept digest counts only while path, size, inode and both times of the file are the same. Nobody
can set the time of the last change (ctime) back, so a file that was rewritten in place, with its
old size and its old modification time, is read again.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import xxhash

from self_ensemble.errors import UserError

# Smaller files are read every time: that takes as long as looking the digest up.
MIN_KEPT_BYTES = 1 << 24
# Times of files are as coarse as two seconds on some file systems: a file that was written just
# now may be written again without a trace.
SETTLED_NS = 3 * 10**9
_CHUNK_BYTES = 1 << 22

# Called with the bytes done so far and their number in the end.
OnBytes = Callable[[int, int], None]


class FileState(NamedTuple):
    """What changes when a file is written to."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class ReadFile(NamedTuple):
    """A file whose content is known, as it was then."""

    path: Path
    state: FileState
    digest: str


def digest_of(content: bytes | str) -> str:
    """Digest of some bytes, or of text in UTF-8."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    return f"xxh3:{xxhash.xxh3_128(content).hexdigest()}"


def digest_of_json(value: object) -> str:
    """Digest of a JSON-able value, whatever the order of its keys."""
    return digest_of(json.dumps(value, sort_keys=True, default=repr))


def read_files(
    paths: Mapping[str, Path], on_bytes: OnBytes = lambda done, total: None
) -> dict[str, ReadFile]:
    """Digest files, in full.

    Args:
        paths: Each file under the name that it goes by, wherever it lies.
        on_bytes: Called while large files are read, not for those whose digest was kept.

    Raises:
        UserError: A file cannot be read, or changes meanwhile.
    """
    found = {name: _kept(path) for name, path in paths.items()}
    total = sum(_state(paths[name]).size for name, kept in found.items() if kept is None)
    done = 0

    def count(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        on_bytes(done, total)

    return {name: kept or _read(paths[name], count) for name, kept in found.items()}


def require_unchanged(files: Iterable[ReadFile]) -> None:
    """Make sure that what was read later is what was digested.

    Raises:
        UserError: A file was written to in between.
    """
    for file in files:
        if _state(file.path) != file.state:
            raise _changed(file.path)


def cache_folder(kind: str) -> Path:
    """Where what can be made again is kept: "digests", or "gguf".

    A user without a home, as containers have them, keeps it with temporary files.
    """
    home = os.path.expanduser("~")
    base = Path(home) / ".cache" if home != "~" else Path(tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or base) / "self-ensemble" / kind


def _state(path: Path) -> FileState:
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}. Check the path.", "SE-0101"
        ) from error
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _read(path: Path, count: Callable[[int], None]) -> ReadFile:
    begun, before = time.time_ns(), _state(path)
    digest, chunk = xxhash.xxh3_128(), bytearray(_CHUNK_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            while size := file.readinto(chunk):
                digest.update(memoryview(chunk)[:size])
                count(size)
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}. Check the file.", "SE-0101"
        ) from error
    if _state(path) != before:
        raise _changed(path)
    read = ReadFile(path, before, f"xxh3:{digest.hexdigest()}")
    settled = max(before.mtime_ns, before.ctime_ns) < begun - SETTLED_NS
    if settled and before.size >= MIN_KEPT_BYTES:
        _keep(read)
    return read


def _changed(path: Path) -> UserError:
    return UserError(
        f"{path} changed while it was read. Run again when nothing writes to it.", "SE-0102"
    )


def _kept(path: Path) -> ReadFile | None:
    """What is known of a file from an earlier run; a cache that cannot be read knows nothing."""
    state = _state(path)
    if state.size < MIN_KEPT_BYTES:
        return None
    try:
        record, check = json.loads(_record_path(path).read_bytes())
        *known, digest = record
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    if check != digest_of_json(record) or known != [os.path.realpath(path), *state]:
        return None
    return ReadFile(path, state, digest)


def _keep(read: ReadFile) -> None:
    """A cache that cannot be written only costs time."""
    record = [os.path.realpath(read.path), *read.state, read.digest]
    place = _record_path(read.path)
    unfinished = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps([record, digest_of_json(record)]))
        unfinished.replace(place)


def _record_path(path: Path) -> Path:
    return (
        cache_folder("digests")
        / f"{xxhash.xxh3_128(os.fsencode(os.path.realpath(path))).hexdigest()}.json"
    )

"""Checksums of the files that are written here and read again.

A file carries the SHA-256 of its own bytes, behind a mark that a plain search finds:

    ARROW1 ... schema {checksum: self-ensemble-sha256:4f1c...} ... rows ... footer {same} ARROW1
    {"checksum": "self-ensemble-sha256:4f1c...", "manifest": {...}}

The digest is that of the file with zeros in its own place. So a reader checks all bytes before it
believes a single length field, the file stays what its format says (any Arrow or JSON reader takes
it), and there is no second file that a kill could part from the first. Text that must have nothing
in it but its rows (JSON Lines) has the checksum beside it instead, as `sha256sum` writes it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from self_ensemble.errors import UserError, reading

MARK = b"self-ensemble-sha256:"
DIGEST_LENGTH = 64
# What a writer puts where the checksum is to stand.
BLANK = MARK + b"0" * DIGEST_LENGTH
# Name of the checksum among the metadata of an Arrow file, and in a JSON object.
ARROW_KEY = b"self_ensemble_checksum"
JSON_KEY = "checksum"
# In its place in a JSON object that somebody changed on purpose.
EDITED = "edited"


class DamagedError(UserError):
    """A file of ours is not as it was written, or stands where one of ours should.

    Attributes:
        path: The file.
        fault: What is wrong with it, half a sentence.
    """

    def __init__(self, path: Path, fault: str, remedy: str) -> None:
        super().__init__(f"{path} cannot be used: {fault}. {remedy}", "SE-0703")
        self.path = path
        self.fault = fault


def seal(content: bytes) -> bytes:
    """Fill in the checksum of a file.

    Args:
        content: The whole file, with `BLANK` as its first and its last mark (an Arrow file has
            its metadata at both ends); one mark may be both.
    """
    places = _places(content)
    assert places, "no place for the checksum"
    digest = _digest(content, places)
    sealed = bytearray(content)
    for start in places:
        assert content.startswith(BLANK, start - len(MARK)), "a mark that is not ours"
        sealed[start : start + DIGEST_LENGTH] = digest
    return bytes(sealed)


def problem(content: bytes) -> str | None:
    """Why a file's content cannot be trusted; None where it is as it was written."""
    places = _places(content)
    if not places:
        return "it has no checksum"
    digest = _digest(content, places)
    # Every copy has to be right, or damage inside one of them would go unseen.
    if any(content[start : start + DIGEST_LENGTH] != digest for start in places):
        return "it is not as it was written: its checksum is another one"
    return None


def claims_checksum(content: bytes) -> bool:
    """Whether anything in a file says that it has a checksum, be it damaged.

    An Arrow file says so four times over, at both of its ends.
    """
    return MARK in content or ARROW_KEY in content


def to_sealed_json(fields: Mapping[str, object]) -> bytes:
    """An object as JSON, one field a line, with its checksum as the first one."""
    assert JSON_KEY not in fields
    text = json_without_marks({JSON_KEY: "", **fields})
    empty = f'"{JSON_KEY}": '
    return seal(text.replace(f'{empty}""', f'{empty}"{BLANK.decode()}"', 1).encode())


def json_without_marks(fields: Mapping[str, object]) -> str:
    """An object as JSON in which no text can be taken for a checksum's mark."""
    text = json.dumps(dict(fields), allow_nan=False, indent=1)
    mark = MARK.decode()
    return text.replace(mark, mark.replace(":", "\\u003a"))


def from_sealed_json(
    content: bytes, source: Path, remedy: str, *, may_be_edited: bool = False
) -> dict[str, object]:
    """Read what `to_sealed_json` wrote.

    Args:
        content: The file's bytes.
        source: The file, for messages.
        remedy: What the user can do about damage, a sentence.
        may_be_edited: Whether "edited" may stand in the checksum's place.

    Raises:
        DamagedError: It is not as it was written.
    """
    fault = problem(content)
    if fault is not None and (MARK in content or not may_be_edited):
        raise DamagedError(source, fault, remedy)
    with reading(source, remedy):
        fields = json.loads(content)
    if not isinstance(fields, dict):
        raise DamagedError(source, f"it holds a JSON {type(fields).__name__}", remedy)
    if fields.pop(JSON_KEY, None) != EDITED and fault is not None:
        raise DamagedError(source, fault, remedy)
    return fields


def sidecar(path: Path) -> Path:
    """The file beside a text file that holds its checksum."""
    return path.with_name(f"{path.name}.sha256")


def sidecar_content(path: Path, content: bytes) -> bytes:
    """What `sha256sum` would print of a file, and `sha256sum --check` reads."""
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode()


def check_sidecar(path: Path, content: bytes) -> None:
    """Compare a text file with the checksum beside it, if there is one.

    Raises:
        UserError: It is another one, or the file beside it cannot be read.
    """
    beside = sidecar(path)
    try:
        listed = beside.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"{beside} cannot be read: {error.strerror or error}. It holds the checksum of "
            f"{path.name}; make it readable, or delete it to take the file as it is.",
            "SE-0702",
        ) from error
    if hashlib.sha256(content).hexdigest().encode() not in listed.lower().split():
        raise DamagedError(
            path,
            f"it is not as it was written: {beside.name} has another checksum",
            f"If you changed it yourself, delete {beside.name}; else make it anew.",
        )


def _places(content: bytes) -> list[int]:
    """Where the digests stand: behind the first and the last mark."""
    first, last = content.find(MARK), content.rfind(MARK)
    return [] if first < 0 else [start + len(MARK) for start in dict.fromkeys((first, last))]


def _digest(content: bytes, places: list[int]) -> bytes:
    running, done = hashlib.sha256(), 0
    for start in places:
        running.update(content[done:start])
        running.update(b"0" * DIGEST_LENGTH)
        done = start + DIGEST_LENGTH
    running.update(content[done:])
    return running.hexdigest().encode()


def sha256_of(value: object) -> str:
    """SHA-256 of a JSON-able value, in hex, as manifests have it."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()

"""What a result was made with, so that two different runs never end up in one file."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import (
    DamagedError,
    from_sealed_json,
    json_without_marks,
    to_sealed_json,
)
from self_ensemble.results.disk import OUTPUT_DIR, REPAIR, read_bytes, read_table, write_atomically

# Longest value quoted in a message: a hash fits, an instruction does not.
MAX_QUOTED = 80
ABSENT = "absent"
# Name of the manifest among the metadata of a finished result.
MANIFEST_KEY = b"self_ensemble_manifest"
# The field that says what the model is, by content.
IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a result depends on.

    Attributes:
        fields: Name to JSON value: model, revision, hashes, method, options, versions. Kept as
            JSON gives it back (a tuple becomes a list), so that it equals what is read later.
    """

    fields: Mapping[str, object]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", json.loads(self.to_json()))

    def to_json(self) -> str:
        """Write it as JSON with sorted names, one field a line."""
        return json_without_marks(dict(sorted(self.fields.items())))

    @classmethod
    def from_json(cls, text: bytes, source: Path, remedy: str = REPAIR) -> "Manifest":
        """Read what `to_json` wrote; `source` is the file to name when it is something else."""
        try:
            fields = json.loads(text)
        # Bytes that are no text at all raise UnicodeDecodeError, a ValueError like JSON's own.
        except ValueError as error:
            raise DamagedError(source, f"its manifest is no JSON ({error})", remedy) from error
        if not isinstance(fields, dict):
            raise DamagedError(source, "its manifest is no JSON object", remedy)
        return cls(fields)

    def write(self, path: Path) -> None:
        """Write it with its checksum to a file that is either whole or not there."""
        write_atomically(path, to_sealed_json(dict(sorted(self.fields.items()))))

    @classmethod
    def read(cls, path: Path, remedy: str = REPAIR) -> "Manifest":
        """Read a file made by `write`.

        Raises:
            DamagedError: It is not as it was written.
        """
        return cls(from_sealed_json(read_bytes(path, remedy), path, remedy))

    def digest(self, may_differ: Set[str] = frozenset()) -> str:
        """Hash of all fields but those that may differ; as in `differences`, null is absence."""
        fields = {
            name: value
            for name, value in _flat(self.fields)
            if value is not None and not _with_outer_names(name) & may_differ
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def read_manifest(path: Path, remedy: str = REPAIR) -> Manifest:
    """Read what a finished result was made with.

    Raises:
        DamagedError: The file is no result of this program, or damaged.
    """
    return manifest_of(read_table(path, remedy), path, remedy)


def manifest_of(table: pa.Table, path: Path, remedy: str = REPAIR) -> Manifest:
    """What the rows of a finished result were made with; `path` is the file they are from."""
    metadata = table.schema.metadata or {}
    if MANIFEST_KEY not in metadata:
        raise DamagedError(path, "it is no finished result (it has no manifest)", remedy)
    return Manifest.from_json(metadata[MANIFEST_KEY], path, remedy)


class Difference(NamedTuple):
    """One field that is not as it was; `ABSENT` stands for a field that is not there."""

    field: str
    old: object
    new: object


def differences(
    old: Manifest, new: Manifest, may_differ: Set[str] = frozenset()
) -> tuple[Difference, ...]:
    """List the fields in which two manifests differ, by name.

    A field that is not there equals null: results outlive the day on which an option was added.

    Args:
        old: What the result on disk was made with.
        new: What is asked for now.
        may_differ: Fields on which no answer depends, for example the batch size. A nested field
            is named with dots (`versions.torch`); the name of an outer field covers all in it.
    """
    old_fields, new_fields = dict(_flat(old.fields)), dict(_flat(new.fields))
    return tuple(
        Difference(name, old_fields.get(name, ABSENT), new_fields.get(name, ABSENT))
        for name in sorted(old_fields.keys() | new_fields.keys())
        if not _with_outer_names(name) & may_differ
        # As JSON, because True == 1 and 1 == 1.0 in Python.
        and json.dumps(old_fields.get(name)) != json.dumps(new_fields.get(name))
    )


def require_same(
    old: Manifest,
    new: Manifest,
    may_differ: Set[str],
    path: Path,
    output_option: str = OUTPUT_DIR,
) -> None:
    """Refuse to go on with a result that was made with other options.

    Raises:
        UserError: Naming every field that changed.
    """
    if IDENTITY in new.fields and IDENTITY not in old.fields:
        raise UserError(
            f"{path} does not say what its model was, by content, so that nobody can tell whether "
            "it is the same one: it was begun by an earlier version. Use --overwrite to start "
            f"anew, or another {output_option}.",
            "SE-0708",
        )
    changed = differences(old, new, may_differ)
    if changed:
        raise UserError(
            f"{described(changed)}: {path} was made with other options. "
            f"Use --overwrite to start anew, or another {output_option}.",
            "SE-0704",
        )


def described(changed: Iterable[Difference]) -> str:
    """Say of each field what it was and what it is, on one line."""
    return "; ".join(f"{field} was {_quote(a)}, now {_quote(b)}" for field, a, b in changed)


def _flat(fields: Mapping[str, object], outer: str = "") -> Iterator[tuple[str, object]]:
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{outer}{name}.")
        else:
            yield f"{outer}{name}", value


def _with_outer_names(name: str) -> set[str]:
    """Give "a", "a.b" and "a.b.c" for "a.b.c"."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def _quote(value: object) -> str:
    text = value if isinstance(value, str) and "\n" not in value else json.dumps(value)
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}..."

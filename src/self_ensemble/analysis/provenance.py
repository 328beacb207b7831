"""What every file of a folder was made with, and its digest."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from self_ensemble.results.disk import REPAIR, read_bytes
from self_ensemble.results.manifest import MANIFEST_KEY, read_manifest


@dataclass(frozen=True, slots=True)
class MadeWith:
    """One file.

    Attributes:
        file: Its name without `.feather`.
        sha256: Digest of its bytes, in hex.
        num_bytes: Its size.
        fields: Its manifest; None where it has none, as files of published notebooks.
    """

    file: str
    sha256: str
    num_bytes: int
    fields: Mapping[str, object] | None


def made_with(folder: Path, names: Iterable[str]) -> tuple[MadeWith, ...]:
    """Read what files were made with.

    Args:
        folder: Where they lie.
        names: Their names without `.feather`.

    Raises:
        UserError: A file cannot be read, or its manifest is damaged.
    """
    found = []
    for name in names:
        path = folder / f"{name}.feather"
        content = read_bytes(path, REPAIR)
        fields = read_manifest(path).fields if MANIFEST_KEY in content else None
        digest = hashlib.sha256(content).hexdigest()
        found.append(MadeWith(name, digest, len(content), fields))
    return tuple(found)

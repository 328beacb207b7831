"""Whether a finished file is what its name says, before anybody reports numbers of it."""

from pathlib import Path

from self_ensemble.identity.checksum import claims_checksum
from self_ensemble.results.disk import REPAIR, read_bytes
from self_ensemble.results.manifest import MANIFEST_KEY, read_manifest
from self_ensemble.results.paths import check_name


def note_on(path: Path) -> str | None:
    """What a reader should know of a result or confidence file.

    Args:
        path: The file, of this program, of an earlier version, or of a published notebook.

    Returns:
        A line where it is ours and has no checksum, so that damage would go unseen; else None.

    Raises:
        UserError: It is damaged, or stands under the name of another method or estimator.
    """
    content = read_bytes(path, REPAIR)
    if claims_checksum(content):
        check_name(path, read_manifest(path).fields)
        return None
    if MANIFEST_KEY in content:
        return f"{path} was made before files had checksums: damage to it would go unseen."
    return None

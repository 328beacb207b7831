"""Files of tables, figures and pages: how they are named, and that they are whole or not there."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.results.disk import write_atomically


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that is either as it was or whole; a link leads to what is written.

    A device or a pipe, such as /dev/stdout, is written to as it is.

    Raises:
        UserError: The file cannot be written.
    """
    encoded = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(encoded)
        else:
            write_atomically(Path(os.path.realpath(path)), encoded)
    except OSError as error:
        raise UserError(
            f"Cannot write {path} ({error.strerror or error}). Name another file.", "SE-0016"
        ) from error


def file_names(texts: Iterable[str]) -> dict[str, str]:
    """Names of files for texts, such as names of a user's columns; no two are the same.

    What would lead to another folder or is no name anywhere becomes an underline, and what is too
    long for a name is cut. Where that leaves two alike, the later one gets a number.
    """
    names: dict[str, str] = {}
    # Some systems take large and small letters for the same.
    taken: set[str] = set()
    for text in dict.fromkeys(texts):
        name = stem = re.sub(r"[^\w.-]", "_", text).encode()[:150].decode(errors="ignore")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names[text] = name
    return names

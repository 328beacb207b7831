"""The one error that a user can cause, and the sentence for a name that does not exist."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was given, what was expected, what to do. The command line
    prints it without a traceback and exits with 2.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Say that `name` is no `kind`, name the nearest one and list them all."""
    choices = sorted(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return UserError(f"Unknown {kind} {name!r}.{hint} Choose from: {', '.join(choices)}.")

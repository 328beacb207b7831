"""The errors that a user can cause, and where what other libraries raise becomes one."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# Of anything that is counted out one by one.
MOST = 1_000_000


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was given, what was expected, what to do. The command line
    prints it without a traceback and exits with 2.

    Attributes:
        code: Such as "SE-0101": what kind of trouble it is. docs/troubleshooting.md says of each
            code what causes it and what to do; a code never changes its meaning.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are made anew from their message alone, and come here from workers.
        return _made_anew, (type(self), self.args, self.__dict__)


def _made_anew(
    kind: type[UserError], args: tuple[object, ...], attributes: dict[str, object]
) -> UserError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class Stopped(KeyboardInterrupt):
    """A signal ended a run between two batches; what was done is kept, and can be gone on with.

    Attributes:
        exit_code: What the shell expects: 130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at once may fit."""
    # PyTorch has an error of its own for a GPU, whose import would take seconds; where a host
    # refuses memory, there is only the text.
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Say that `name` is no `kind`, name the nearest one and list them all."""
    choices = sorted(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return UserError(
        f"Unknown {kind} {name!r}.{hint} Choose from: {', '.join(choices)}.", "SE-0011"
    )


@contextmanager
def reading(what: object, remedy: str) -> Iterator[None]:
    """Turn whatever a third-party reader raises on a user's file into a `UserError`.

    Readers of files raise anything on a file that is not as they expect: this is the one place
    that catches all of it. Only calls of such readers stand inside, no code of ours, whose bugs
    shall stay visible. The cause stays attached, and `--debug` shows it.

    Args:
        what: The file, or what else is read.
        remedy: What the user can do, a sentence.

    Raises:
        UserError: What was read, the reader's reason, the remedy.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise unreadable(what, error, remedy) from error
    except BaseException as error:
        # A panic of a library in Rust, which is no Exception; its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise unreadable(what, error, remedy) from error


def unreadable(what: object, error: BaseException, remedy: str) -> UserError:
    """Say what could not be read and why, in the reader's own words where it has any."""
    name, line = type(error).__name__, first_line(error)
    reason = name if line == name else f"{name}: {line}"
    return UserError(f"Cannot read {what} ({reason}). {remedy}", "SE-0101")


def first_line(error: BaseException) -> str:
    """What an error says first; its name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def at_least(option: str, value: int | None, least: int) -> None:
    """Refuse a number that is too small, or so large that it can only be a slip.

    Args:
        option: As the command line has it, such as --max-new-tokens.
        value: What was given; None for nothing.
        least: The smallest that can be.

    Raises:
        UserError: It is neither.
    """
    if value is not None and value < least:
        raise UserError(f"Got {option} {value}. Give {least} or more.", "SE-0010")
    if value is not None and value > MOST:
        raise UserError(f"Got {option} {value}. Give {MOST:,} or less.", "SE-0010")

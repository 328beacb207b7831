"""Whatever a reader raises becomes one line; what is not the file's fault does not."""

import pytest

from self_ensemble.errors import UserError, reading


class PanicException(BaseException):
    """As libraries in Rust raise it."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("vocab"), "KeyError: 'vocab'"),
        (RecursionError("too deep\nmore"), "RecursionError: too deep"),
        (MemoryError(), "MemoryError"),
        (PanicException("index out of bounds"), "PanicException: index out of bounds"),
    ],
)
def test_what_a_reader_raises_names_file_reason_and_remedy(error, reason):
    with (
        pytest.raises(UserError) as raised,
        reading("model/tokenizer.json", "Fetch the model again."),
    ):
        raise error

    assert (
        str(raised.value) == f"Cannot read model/tokenizer.json ({reason}). Fetch the model again."
    )
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [UserError("as it was", "SE-0101"), KeyboardInterrupt(), SystemExit(3)]
)
def test_our_own_errors_and_stops_pass_through(error):
    with pytest.raises(type(error)) as raised, reading("model", "Fetch it again."):
        raise error

    assert raised.value is error

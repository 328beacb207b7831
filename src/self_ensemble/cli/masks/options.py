"""What `mask` is given, and what it refuses before anything heavy is imported."""

from collections.abc import Mapping
from pathlib import Path

from self_ensemble.cli.option_values import check_file, one_of, parse_weights
from self_ensemble.errors import UserError
from self_ensemble.report.can_draw import check_can_draw

SOURCES = ("--dataset", "--text", "--lengths")
LONGEST = 1_000_000  # tokens; longer than any model's context


def one_source(dataset: str | None, text: list[str] | None, lengths: str | None) -> str:
    """Name the one source that was given.

    Raises:
        UserError: None was given, or more than one.
    """
    given = [
        option
        for option, value in zip(SOURCES, (dataset, text or None, lengths), strict=True)
        if value is not None
    ]
    if len(given) == 1:
        return given[0]
    found = f"Got {' and '.join(given)}" if given else "Nothing to draw"
    raise UserError(
        f"{found}. Give one of: --dataset NAME --index I, --text once per wording, "
        "or --lengths 40,38,45.",
        "SE-0012",
    )


def parse_lengths(text: str) -> tuple[int, ...]:
    """Read "40,38,45".

    Raises:
        UserError: One of them is no number from 1.
    """
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if not (part.isdecimal() and int(part) > 0)]
    if wrong:
        raise UserError(
            f"Got --lengths {text!r}: {wrong[0]!r} is no number of tokens from 1. "
            "Give one number per segment, such as 40,38,45.",
            "SE-0010",
        )
    return tuple(int(part) for part in parts)


def parse_segment_weights(text: str) -> str | tuple[float, ...]:
    """Read "uniform", "none" or "0.5,0.3,0.2".

    Raises:
        UserError: Neither of the names, or one is no number from 0, or none is above 0.
    """
    if not any(letter.isdigit() for letter in text):
        one_of("segment weights", text, ["uniform", "none"])
        return text
    return parse_weights("--segment-weights", text, "uniform, none, or ")


def refuse_without_weights(computes: bool, options: Mapping[str, object]) -> None:
    """Refuse options of computing where nothing is computed.

    Raises:
        UserError: One was given, and only the tokenizer will be loaded.
    """
    given = [option for option, value in options.items() if value is not None]
    if given and not computes:
        raise UserError(
            f"{given[0]} changes nothing: only the tokenizer is loaded. Leave it out, or add "
            "--check or --compare.",
            "SE-0012",
        )


def check_files(png: Path | None, html: Path | None) -> None:
    """Refuse files that cannot be what they are asked to be, before anything is drawn.

    Raises:
        UserError: A file that cannot be written, or a library that is missing.
    """
    check_file("--png", png, ".png")
    check_file("--html", html, ".html")
    if png is not None:
        check_can_draw("--png")

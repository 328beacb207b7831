"""What `analyze` is given, and where its tables go."""

import json
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import RenderableType

from self_ensemble.cli.console import page_console
from self_ensemble.questions.chosen import DataOptions
from self_ensemble.report.files import write_file


@dataclass(frozen=True, slots=True)
class Choice:
    """Which results to read, and how.

    Attributes:
        output_dir: Folder of all results.
        dataset: Name of a data set or path of the user's own file; None for all.
        model: Alias, hub id or path of a model; None for all.
        lemmatiser: Name of the lemmatiser.
        words: How words of scripts without blanks are found: characters or icu.
        confidence: Coverage of the intervals.
        questions: Which questions these are, and how they are read; None for several sets.
        must_read: Whether the user has said how.
    """

    output_dir: Path
    dataset: str | None
    model: str | None
    lemmatiser: str
    words: str
    confidence: float
    questions: DataOptions | None = None
    must_read: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a table goes besides the terminal, or instead of it."""

    csv_file: Path | None
    markdown_file: Path | None
    latex_file: Path | None
    as_json: bool


def write_tables(
    outputs: Outputs, csv_text: str, markdown_text: str, latex_text: str = ""
) -> None:
    """Write the files that were asked for."""
    for path, text in (
        (outputs.csv_file, csv_text),
        (outputs.markdown_file, markdown_text),
        (outputs.latex_file, latex_text),
    ):
        if path is not None:
            write_file(path, text)


def show(outputs: Outputs, view: RenderableType, document: dict[str, object]) -> None:
    """Print the table, or one JSON document."""
    if outputs.as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    page_console().print(view)

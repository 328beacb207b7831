"""`self-ensemble analyze`: score the result files of a folder and compare them."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.errors import UserError


def analyze(
    dataset: Annotated[
        str | None, typer.Option(help="Data set: its name, or the path of your own file.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model: alias, hub id or path.")] = None,
    output_dir: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("results"),
    compare_all: Annotated[
        bool,
        typer.Option(
            "--compare-all",
            help="All data sets and models; --dataset and --model then only narrow the choice.",
        ),
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Result file that the others are compared with, without .feather. "
            "Default: origin where there is one."
        ),
    ] = None,
    lemmatiser: Annotated[
        str, typer.Option(help="simplemma, spacy or spacy:MODEL.")
    ] = "simplemma",
    confidence: Annotated[
        float, typer.Option(help="Coverage of the intervals, between 0 and 1.")
    ] = 0.95,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Also write the table as CSV.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Also write the table as Markdown.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of the table.")
    ] = False,
) -> None:
    """Score result files, with intervals and the paired difference to a baseline."""
    if not compare_all and (dataset is None or model is None):
        raise UserError(
            f"Give both --dataset and --model, or --compare-all for every result in {output_dir}."
        )
    # Here, not above: scipy, pyarrow and rich would make every `--help` wait.
    import json

    from rich.console import Console

    from self_ensemble.report.tables import (
        csv_text,
        json_document,
        markdown_text,
        score_view,
        write_text,
    )
    from self_ensemble.scoring.files import result_folders
    from self_ensemble.scoring.lemmas import lemmatiser_named
    from self_ensemble.scoring.score_table import score_table

    folders = result_folders(output_dir, dataset, _folder_name(output_dir, model))
    table = score_table(
        folders,
        lemmatiser_named(lemmatiser),
        lemmatiser_name=lemmatiser,
        baseline=baseline,
        confidence=confidence,
    )
    if csv_file is not None:
        write_text(csv_file, csv_text(table))
    if markdown_file is not None:
        write_text(markdown_file, markdown_text(table))
    if as_json:
        typer.echo(json.dumps(json_document(table), ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    # A file or a pipe has no width; rich would assume 80 columns.
    if not console.is_terminal:
        console = Console(width=120)
    console.print(score_view(table))


def _folder_name(output_dir: Path, model: str | None) -> str | None:
    """Name the folder that `generate` gave to the model's results."""
    if model is None:
        return None
    from self_ensemble.results.paths import result_path

    return result_path(output_dir, "any", model, "origin", 1, None).parent.name

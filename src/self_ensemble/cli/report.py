"""`self-ensemble report`: all that finished results can tell, as one page."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import options
from self_ensemble.errors import UserError


def report(
    dataset: Annotated[
        str | None, typer.Option(help="Data set: its name, or the path of your own file.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model: alias, hub id or path.")] = None,
    output_dir: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("results"),
    output: Annotated[Path, typer.Option(help="The page, an .html file.")] = Path("report.html"),
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
    words: Annotated[
        str, typer.Option(help="Scripts without blanks: characters, or icu for whole words.")
    ] = "characters",
    confidence: Annotated[
        float, typer.Option(help="Coverage of the intervals, between 0 and 1.")
    ] = 0.95,
) -> None:
    """Write finished results as one HTML page that needs neither network nor model.

    Scores with intervals and tests, figures, calibration, agreement, example questions with every
    answer, and what the files were made with.
    """
    if not compare_all and (dataset is None or model is None):
        raise UserError(
            f"Give both --dataset and --model, or --compare-all for every result in {output_dir}.",
            "SE-0013",
        )
    options.check_file("--output", output, ".html")
    # Here, not above: matplotlib, scipy and pyarrow would make every `--help` wait.
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.report.results_page.job import write_report

    page = write_report(
        dataset,
        model,
        output_dir=output_dir,
        output=output,
        baseline=baseline,
        lemmatiser=lemmatiser,
        words=words,
        confidence=confidence,
        progress=ConsoleProgress(),
    )
    typer.echo(f"Report: {page}")

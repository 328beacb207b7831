"""`self-ensemble report`: all that finished results can tell, as one page."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import finished_options, option_values


def report(
    dataset: finished_options.Dataset = None,
    model: finished_options.Model = None,
    output_dir: finished_options.OutputDir = Path("results"),
    output: Annotated[Path, typer.Option(help="The page, an .html file.")] = Path("report.html"),
    compare_all: finished_options.CompareAll = False,
    baseline: finished_options.Baseline = None,
    lemmatiser: finished_options.Lemmatiser = "simplemma",
    words: finished_options.Words = "characters",
    confidence: finished_options.Confidence = 0.95,
) -> None:
    """Write finished results as one HTML page that needs neither network nor model.

    Scores with intervals and tests, figures, calibration, agreement, example questions with every
    answer, and what the files were made with.
    """
    finished_options.check_choice(dataset, model, output_dir, compare_all=compare_all)
    option_values.check_file("--output", output, ".html")
    finished_options.check_folders(dataset, model, output_dir)
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

"""The heavy half of `self-ensemble analyze --calibration`, imported when it runs."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import typer

from self_ensemble.cli.analyze_outputs import Choice, Outputs, show, write_tables
from self_ensemble.cli.console import ConsoleProgress
from self_ensemble.errors import UserError
from self_ensemble.jobs.analyze import calibrate
from self_ensemble.report.calibration import (
    calibration_view,
    csv_text,
    json_document,
    markdown_text,
)
from self_ensemble.report.can_draw import can_draw, check_can_draw
from self_ensemble.results.paths import model_folder_name
from self_ensemble.scoring.calibration import DEFAULT_NUM_BINS
from self_ensemble.scoring.calibration_table import CalibrationTable
from self_ensemble.scoring.folders import ResultFolder, calibration_folders


def analyze_calibration(
    choice: Choice, num_bins: int | None, plot: Path | None, outputs: Outputs
) -> None:

    model = None if choice.model is None else model_folder_name(choice.model)
    folders = calibration_folders(choice.output_dir, choice.dataset, model)
    if plot is not None:
        _check_plot(plot, folders)
    table = calibrate(
        choice.dataset,
        choice.model,
        output_dir=choice.output_dir,
        num_bins=DEFAULT_NUM_BINS if num_bins is None else num_bins,
        lemmatiser=choice.lemmatiser,
        confidence=choice.confidence,
        progress=ConsoleProgress(),
    )
    write_tables(outputs, csv_text(table), markdown_text(table))
    show(outputs, calibration_view(table), json_document(table))
    # Standard output is one JSON document where that was asked for.
    for line in _plot(table, plot, folders):
        typer.echo(line, err=outputs.as_json)


def _check_plot(plot: Path, folders: Sequence[ResultFolder]) -> None:
    check_can_draw("--plot")
    if plot.suffix.lower() != ".png":
        raise UserError(f"--plot {plot} is no PNG. Name a file that ends in .png.", "SE-0014")
    if len(folders) > 1:
        raise UserError(
            f"--plot {plot} is one file, but there are results of {len(folders)} data sets and "
            "models. Give --dataset and --model, or drop --plot for a plot in each folder.",
            "SE-0014",
        )


def _plot(
    table: CalibrationTable, plot: Path | None, folders: Sequence[ResultFolder]
) -> list[str]:
    """Draw the plot of each folder; returns the lines that say where they are."""
    if not can_draw():
        return ['No plot: it needs matplotlib. Run: pip install "self-ensemble[plots]"']
    from self_ensemble.report.reliability_plot import write_reliability_plot

    paths = {(folder.dataset, folder.model): folder.path for folder in folders}
    lines = []
    for key, rows in groupby(table.rows, key=lambda row: (row.dataset, row.model)):
        path = paths[key] / "calibration.png" if plot is None else plot
        write_reliability_plot(path, list(rows), say=ConsoleProgress().warn)
        lines.append(f"Plot: {path}")
    return lines

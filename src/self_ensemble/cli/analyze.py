"""`self-ensemble analyze`: score the result files of a folder, or see how far to trust them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from self_ensemble.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from self_ensemble.jobs.inputs import DataOptions
    from self_ensemble.scoring.calibration_table import CalibrationTable
    from self_ensemble.scoring.folders import ResultFolder

# Imports inside the functions: scipy, pyarrow and rich would make every `--help` wait.


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which results to read, and how.

    Attributes:
        output_dir: Folder of all results.
        dataset: Name of a data set or path of the user's own file; None for all.
        model: Alias, hub id or path of a model; None for all.
        lemmatiser: Name of the lemmatiser.
        words: How words of scripts without blanks are found: characters or icu.
        confidence: Coverage of the intervals.
        data: Folder or file with the questions; None where they are not needed.
    """

    output_dir: Path
    dataset: str | None
    model: str | None
    lemmatiser: str
    words: str
    confidence: float
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Where a table goes besides the terminal, or instead of it."""

    csv_file: Path | None
    markdown_file: Path | None
    as_json: bool


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
    words: Annotated[
        str,
        typer.Option(
            help="Chinese, Japanese, Thai and their like: characters, or icu for whole words "
            '(pip install "self-ensemble[words]").'
        ),
    ] = "characters",
    confidence: Annotated[
        float, typer.Option(help="Coverage of the intervals, between 0 and 1.")
    ] = 0.95,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Column of the questions (rel_uri) whose equal values are resampled together, "
            "because such questions are not independent."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Where --dataset lies, as for generate: its columns are read there."),
    ] = None,
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration",
            help="How far to trust the confidences: calibration of every estimator and file.",
        ),
    ] = False,
    num_bins: Annotated[
        int | None, typer.Option(help="Bins of the calibration error. Default: 10.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="PNG for the reliability plot. Default: calibration.png in the results' folder."
        ),
    ] = None,
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
    if calibration and baseline is not None:
        raise UserError("--calibration compares with no --baseline. Drop one of them.")
    if calibration and words != "characters":
        raise UserError("--calibration matches characters. Drop --words.")
    if not calibration and (num_bins is not None or plot is not None):
        option = "--plot" if num_bins is None else "--num-bins"
        raise UserError(f"{option} is an option of --calibration. Add that, or drop {option}.")
    if calibration and cluster is not None:
        raise UserError("--calibration always resamples questions. Drop --cluster.")
    choice = _Choice(output_dir, dataset, model, lemmatiser, words, confidence, data)
    outputs = _Outputs(csv_file, markdown_file, as_json)
    if calibration:
        _analyze_calibration(choice, num_bins, plot, outputs)
    else:
        _analyze_scores(choice, baseline, cluster, outputs)


def _analyze_scores(
    choice: _Choice, baseline: str | None, cluster: str | None, outputs: _Outputs
) -> None:
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.analyze import analyze
    from self_ensemble.report.tables import csv_text, json_document, markdown_text, score_view

    table = analyze(
        choice.dataset,
        choice.model,
        output_dir=choice.output_dir,
        baseline=baseline,
        lemmatiser=choice.lemmatiser,
        words=choice.words,
        confidence=choice.confidence,
        cluster=cluster,
        questions=_questions(choice),
        progress=ConsoleProgress(),
    )
    _write(outputs, csv_text(table), markdown_text(table))
    _show(outputs, score_view(table), json_document(table))


def _questions(choice: _Choice) -> "DataOptions | None":
    """Where the columns of the questions are, if the user says so."""
    if choice.data is None:
        return None
    if choice.dataset is None:
        raise UserError("--data needs --dataset: it says which questions lie there.")
    from self_ensemble.jobs.inputs import DataOptions

    return DataOptions(choice.dataset, data=choice.data, num_shots=0)


def _analyze_calibration(
    choice: _Choice, num_bins: int | None, plot: Path | None, outputs: _Outputs
) -> None:
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.analyze import calibrate
    from self_ensemble.report.calibration import (
        calibration_view,
        csv_text,
        json_document,
        markdown_text,
    )
    from self_ensemble.results.paths import model_folder_name
    from self_ensemble.scoring.calibration import DEFAULT_NUM_BINS
    from self_ensemble.scoring.folders import calibration_folders

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
    _write(outputs, csv_text(table), markdown_text(table))
    _show(outputs, calibration_view(table), json_document(table))
    # Standard output is one JSON document where that was asked for.
    for line in _plot(table, plot, folders):
        typer.echo(line, err=outputs.as_json)


def _check_plot(plot: Path, folders: Sequence["ResultFolder"]) -> None:
    if find_spec("matplotlib") is None:
        raise UserError(
            "--plot needs matplotlib, which is not installed. "
            'Run: pip install "self-ensemble[plots]"'
        )
    if plot.suffix.lower() != ".png":
        raise UserError(f"--plot {plot} is no PNG. Name a file that ends in .png.")
    if len(folders) > 1:
        raise UserError(
            f"--plot {plot} is one file, but there are results of {len(folders)} data sets and "
            "models. Give --dataset and --model, or drop --plot for a plot in each folder."
        )


def _plot(
    table: "CalibrationTable", plot: Path | None, folders: Sequence["ResultFolder"]
) -> list[str]:
    """Draw the plot of each folder; returns the lines that say where they are."""
    if find_spec("matplotlib") is None:
        return ['No plot: it needs matplotlib. Run: pip install "self-ensemble[plots]"']
    from self_ensemble.report.reliability_plot import write_reliability_plot

    paths = {(folder.dataset, folder.model): folder.path for folder in folders}
    lines = []
    for key, rows in groupby(table.rows, key=lambda row: (row.dataset, row.model)):
        path = paths[key] / "calibration.png" if plot is None else plot
        write_reliability_plot(path, list(rows))
        lines.append(f"Plot: {path}")
    return lines


def _write(outputs: _Outputs, csv_text: str, markdown_text: str) -> None:
    from self_ensemble.report.tables import write_text

    if outputs.csv_file is not None:
        write_text(outputs.csv_file, csv_text)
    if outputs.markdown_file is not None:
        write_text(outputs.markdown_file, markdown_text)


def _show(outputs: _Outputs, view: "RenderableType", document: dict[str, object]) -> None:
    if outputs.as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    from self_ensemble.cli.console import page_console

    page_console().print(view)

"""`self-ensemble analyze`: score the result files of a folder, or see how far to trust them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import finished_options, options
from self_ensemble.errors import UserError, unknown_name


def analyze(
    dataset: finished_options.Dataset = None,
    model: finished_options.Model = None,
    output_dir: finished_options.OutputDir = Path("results"),
    compare_all: finished_options.CompareAll = False,
    baseline: finished_options.Baseline = None,
    lemmatiser: finished_options.Lemmatiser = "simplemma",
    words: finished_options.Words = "characters",
    confidence: finished_options.Confidence = 0.95,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Column of the questions (rel_uri) whose equal values are resampled together, "
            "because such questions are not independent."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Where webqa or myriadlama lies: columns are read there, as of --dataset FILE.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    split: options.Split = None,
    answers_separator: options.AnswersSeparator = None,
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
            help="Folder for the figures, as PNG and SVG. With --calibration: the PNG for its "
            "plot; default calibration.png in the results' folder."
        ),
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            "--show",
            help="More tables: comparison, curve (by number of wordings), robustness, or all; "
            "several with commas.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Scores of each kind of question: answer_type, answer_length, question_length, "
            "or a column of the questions; several with commas."
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            help="Print the questions instead: gained, lost, new (right although no wording alone "
            "was) or disagree."
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="Only the rows of this result file, without .feather.")
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", help="Also write the table as CSV, and each further one beside it."),
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Also write the table as Markdown.")
    ] = None,
    latex_file: Annotated[
        Path | None, typer.Option("--latex", help="Also write the table for LaTeX (booktabs).")
    ] = None,
    as_json: finished_options.AsJson = False,
) -> None:
    """Score result files, with intervals and the paired difference to a baseline."""
    finished_options.check_choice(dataset, model, output_dir, compare_all=compare_all)
    _check_calibration(
        calibration,
        refused={
            "--baseline": (baseline, "compares with no --baseline"),
            "--words": (None if words == "characters" else words, "matches characters"),
            "--cluster": (cluster, "always resamples questions"),
            "--show": (sections, "shows one table"),
            "--by": (by, "shows one table"),
            "--rows": (rows, "shows one table"),
            "--data": (data, "needs no questions"),
            "--columns": (columns, "needs no questions"),
            "--encoding": (encoding, "needs no questions"),
            "--split": (split, "needs no questions"),
            "--answers-separator": (answers_separator, "needs no questions"),
            "--latex": (latex_file, "writes no LaTeX"),
        },
        needed={"--num-bins": num_bins},
    )
    if not calibration and plot is not None and plot.suffix in (".png", ".svg", ".pdf"):
        raise UserError(
            f"--plot {plot}: the figures are several, so name a folder; or add --calibration.",
            "SE-0014",
        )
    if rows is None and file is not None:
        raise UserError(
            "--file says whose rows are printed. Add --rows, or drop --file.", "SE-0012"
        )
    finished_options.check_folders(dataset, model, output_dir)
    # Here, not above: scipy, pyarrow and rich would make every `--help` wait.
    from self_ensemble.cli.analyze_outputs import Choice, Outputs
    from self_ensemble.questions.chosen import DataOptions

    reading = (data, columns, encoding, split, answers_separator)
    questions = None
    if dataset is not None:
        questions = DataOptions(
            dataset, data, num_shots=0, columns=columns, encoding=encoding, split=split,
            answers_separator=answers_separator,
        )  # fmt: skip
    elif any(option is not None for option in reading):
        raise UserError("How to read questions needs --dataset: which ones.", "SE-0013")
    choice = Choice(
        output_dir, dataset, model, lemmatiser, words, confidence, questions,
        must_read=any(option is not None for option in reading),
    )  # fmt: skip
    outputs = Outputs(csv_file, markdown_file, latex_file, as_json)
    if calibration:
        from self_ensemble.cli.analyze_calibration import analyze_calibration

        analyze_calibration(choice, num_bins, plot, outputs)
        return
    from self_ensemble.cli.analyze_scores import SECTIONS, Shown, analyze_scores

    names = _names(sections)
    for name in names:
        if name not in (*SECTIONS, "all"):
            raise unknown_name("table", name, (*SECTIONS, "all"))
    shown = Shown(
        baseline,
        cluster,
        sections=SECTIONS if "all" in names else names,
        kinds=_names(by),
        rows=rows,
        file=file,
        plot=plot,
    )
    analyze_scores(choice, shown, outputs)


def _names(listed: str | None) -> tuple[str, ...]:
    """Names in a list with commas."""
    return tuple(filter(None, map(str.strip, (listed or "").split(","))))


def _check_calibration(
    wanted: bool,
    refused: Mapping[str, tuple[object, str]],
    needed: Mapping[str, object],
) -> None:
    """Refuse options that would change nothing, with and without --calibration."""
    for option, (value, reason) in refused.items():
        if wanted and value is not None:
            raise UserError(f"--calibration {reason}. Drop {option}.", "SE-0012")
    for option, value in needed.items():
        if not wanted and value is not None:
            raise UserError(
                f"{option} is an option of --calibration. Add that, or drop {option}.", "SE-0012"
            )

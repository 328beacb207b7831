"""Options of commands that read finished results; the default stands at the command."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.errors import UserError

Dataset = Annotated[
    str | None, typer.Option(help="Data set: its name, or the path of your own file.")
]
Model = Annotated[str | None, typer.Option(help="Model: alias, hub id or path.")]
OutputDir = Annotated[Path, typer.Option(help="Folder of all results.")]
CompareAll = Annotated[
    bool,
    typer.Option(
        "--compare-all",
        help="All data sets and models; --dataset and --model then only narrow the choice.",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        help="Result file that the others are compared with, without .feather. "
        "Default: origin where there is one."
    ),
]
Lemmatiser = Annotated[str, typer.Option(help="simplemma, spacy or spacy:MODEL.")]
Words = Annotated[
    str,
    typer.Option(
        help="Chinese, Japanese, Thai and their like: characters, or icu for whole words "
        r'(pip install "self-ensemble\[words]").'
    ),
]
Confidence = Annotated[float, typer.Option(help="Coverage of the intervals, between 0 and 1.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of the table.")
]


def check_choice(
    dataset: str | None, model: str | None, output_dir: Path, *, compare_all: bool
) -> None:
    """Refuse a choice of results that does not say which.

    Raises:
        UserError: A data set or a model is missing, and not all are asked for.
    """
    if not compare_all and (dataset is None or model is None):
        raise UserError(
            f"Give both --dataset and --model, or --compare-all for every result in {output_dir}.",
            "SE-0013",
        )


def check_folders(dataset: str | None, model: str | None, output_dir: Path) -> None:
    """Refuse results that are not there, before anything heavy is imported.

    Raises:
        UserError: There is no folder of these.
    """
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.results.paths import model_folder_name
    from self_ensemble.scoring.folders import model_folders

    model_folders(output_dir, dataset, None if model is None else model_folder_name(model))

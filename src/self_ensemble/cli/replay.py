"""`self-ensemble replay`: fuse wordings again, from what was kept of their predictions."""

import json
from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import finished_options, option_values


def replay(
    dataset: Annotated[
        str, typer.Option(help="Data set: its name, or the path of your own file.")
    ],
    model: Annotated[str, typer.Option(help="Model: alias, hub id or path.")],
    rule: Annotated[
        list[str],
        typer.Option(
            help="One or several, comma-separated: avg, max, weighted_avg, weighted_max, "
            "prob_avg, logprob_avg, min_entropy, contrast, gated, all."
        ),
    ] = ["all"],  # noqa: B006
    indices: Annotated[
        str | None,
        typer.Option(help="These wordings, in this order, for example 0,2,4. Default: all kept."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="A number for each wording, for weighted_avg and weighted_max."),
    ] = None,
    contrast_strength: Annotated[
        float | None,
        typer.Option(
            help="How much of the prompt without the question contrast takes away. Default: 0.25."
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(help="Which file of log-probabilities, without .feather, if several."),
    ] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Print a JSON line for each rule and question instead.")
    ] = False,
    output_dir: finished_options.OutputDir = Path("results"),
    as_json: finished_options.AsJson = False,
) -> None:
    """Fuse the first token again from kept predictions: other rules, wordings, weights; no model.

    Needs `generate --save-logprobs 64`. Where what was not kept could change the choice, the row
    says so and is counted.
    """
    chosen = option_values.parse_indices(indices)
    given = None if weights is None else option_values.parse_weights("--weights", weights)
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.cli.console import page_console
    from self_ensemble.jobs.replay import replay as run
    from self_ensemble.replaying.rules import CONTRAST
    from self_ensemble.report.replay import replay_document, replay_rows, replay_view

    table = run(
        dataset,
        model,
        output_dir=output_dir,
        rules=option_values.parse_names(rule),
        indices=chosen,
        weights=given,
        contrast_strength=CONTRAST if contrast_strength is None else contrast_strength,
        file=file,
    )
    if rows:
        for row in replay_rows(table):
            typer.echo(json.dumps(row))
    elif as_json:
        typer.echo(json.dumps(replay_document(table)))
    else:
        page_console().print(replay_view(table))

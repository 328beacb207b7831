"""`self-ensemble bench`: how fast this machine is with the user's model, beside `generate`."""

import json
from statistics import median
from typing import Annotated

import typer

from self_ensemble.cli import known_names, option_values, options
from self_ensemble.cli.options import METHOD
from self_ensemble.errors import UserError, at_least


def bench(
    model: options.Model = "smollm2_135m_it",
    method: Annotated[
        list[str],
        typer.Option(
            help="Methods, comma-separated; each runs by itself.",
            rich_help_panel=METHOD,
            callback=known_names.methods,
        ),
    ] = ["flex_attention,avg"],  # noqa: B006
    questions: Annotated[
        int | None,
        typer.Option(help="Bundled questions. Default: one batch.", rich_help_panel=METHOD),
    ] = None,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    engine: options.Engine = "torch",
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell how fast a model is on this machine: ours beside transformers' `generate`.

    The bundled questions in five wordings, answers of 20 tokens, three rounds, after answers were
    found to be right.
    """
    at_least("--questions", questions, 1)
    if dtype == "int8":
        raise UserError(
            "bench times answers that are the oracle's, and --dtype int8 rounds weights. Give "
            "float32 or bfloat16.",
            "SE-0012",
        )
    asked_size = option_values.parse_batch_size(batch_size)
    option_values.check_model(model, aliases)
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.asking.methods import resolve_methods
    from self_ensemble.bench.speed import measure_speed
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.inputs import ModelOptions
    from self_ensemble.running.batches import default_batch_size

    methods = resolve_methods(option_values.parse_names(method), has_weights=False)
    progress = ConsoleProgress(as_json=as_json)
    loaded = ModelOptions(model, "auto", device, dtype, trust_remote_code, aliases, engine).load(
        progress
    )
    size = asked_size or default_batch_size(loaded)
    number = questions or size
    with progress.console.status("measuring ...") as status:
        check, seconds = measure_speed(
            loaded, methods, num_questions=number, batch_size=size,
            report=lambda line: status.update(f"{line} ..."),
        )  # fmt: skip
    ms = {name: sorted(1e3 * lap for lap in laps) for name, laps in seconds.items()}
    if as_json:
        facts = {"model": loaded.name, "dtype": str(loaded.dtype), "device": str(loaded.device)}
        work = {"questions": number, "batch_size": size, "check": check._asdict()}
        typer.echo(json.dumps(facts | work | {"ms_per_question": ms}, allow_nan=False))
        return
    typer.echo(
        f"{loaded.name}, {loaded.dtype}, {loaded.device}: {number} questions, batches of {size}. "
        f"{check.num_tokens} tokens are the oracle's ({check.num_ties} ties), {check.num_rows} "
        "answers of generate are ours."
    )
    typer.echo(f"{'':<16}{'questions/s':>12}{'ms/question':>12}{'fastest':>10}{'slowest':>10}")
    for name, laps in ms.items():
        middle, low, high = median(laps), laps[0], laps[-1]
        typer.echo(f"{name:<16}{1e3 / middle:>12,.2f}{middle:>12,.1f}{low:>10,.1f}{high:>10,.1f}")

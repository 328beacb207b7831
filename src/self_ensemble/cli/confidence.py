"""`self-ensemble confidence`: how sure the model is of each wording."""

import json
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from self_ensemble.cli import option_values, options, worker_options
from self_ensemble.cli.option_values import one_of
from self_ensemble.cli.options import METHOD
from self_ensemble.errors import UserError
from self_ensemble.results.paths import ESTIMATORS

if TYPE_CHECKING:
    from self_ensemble.jobs.results import Results


def confidence(
    dataset: options.Dataset,
    model: options.Model = "smollm2_135m_it",
    estimator: Annotated[
        list[str],
        typer.Option(
            help="One or several, comma-separated: sampling, logprob, margin, entropy, "
            "agreement, p_true, all.",
            rich_help_panel=METHOD,
        ),
    ] = ["sampling"],  # noqa: B006
    num_samples: Annotated[
        int | None,
        typer.Option(
            help="Sampled answers per wording, S (sampling). Default: 100.", rich_help_panel=METHOD
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Of the samples. Default: 0.6.",
            rich_help_panel=METHOD,
            callback=option_values.check_temperature,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Nucleus of the samples. Default: 0.9.",
            rich_help_panel=METHOD,
            callback=option_values.check_top_p,
        ),
    ] = None,
    num_paraphrases: options.NumParaphrases = None,
    indices: options.Indices = None,
    data: options.DataFolder = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    split: options.Split = None,
    answers_separator: options.AnswersSeparator = None,
    paraphrases: options.Paraphrases = None,
    max_samples: options.MaxSamples = None,
    offset: options.Offset = 0,
    num_shots: options.NumShots = 5,
    num_manual: options.NumManual = None,
    num_auto: options.NumAuto = 0,
    chat_template: options.ChatTemplate = "off",
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
    seed: options.Seed = 0,
    attention: options.Attention = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    engine: options.Engine = "torch",
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
    batch_size: options.BatchSize = "auto",
    workers: worker_options.NumWorkers = None,
    ray: worker_options.RayAddress = None,
    cpus_per_worker: worker_options.CpusPerWorker = None,
    gpus_per_worker: worker_options.GpusPerWorker = None,
    max_worker_restarts: worker_options.MaxWorkerRestarts = None,
    batch_timeout: worker_options.BatchTimeout = None,
    output_dir: options.OutputDir = Path("results"),
    overwrite: options.Overwrite = False,
    repair: options.Repair = False,
    as_json: options.AsJson = False,
) -> int:
    """Estimate how sure the model is of its answer to each wording.

    Each estimator writes one file beside the results, confidence.feather (sampling) or
    confidence-NAME.feather, which `generate --weights NAME` and `analyze --calibration` read.
    A stopped or killed run goes on when started again. Exit code 3: some rows could not be asked.
    """
    estimators = option_values.parse_names(estimator)
    for name in estimators:
        one_of("estimator", name, [*ESTIMATORS, "all"])
    if not {"sampling", "all"} & set(estimators):
        for option, value in (
            ("--num-samples", num_samples), ("--temperature", temperature), ("--top-p", top_p),
        ):  # fmt: skip
            if value is not None:
                raise UserError(
                    f"{option} is for the estimator sampling, which is not asked for. "
                    "Leave it out, or add the estimator.",
                    "SE-0012",
                )
    chosen = option_values.parse_indices(indices)
    num_wordings = option_values.wordings_per_question(num_paraphrases, num_manual, num_auto)
    size = option_values.parse_batch_size(batch_size)
    on_workers = worker_options.parse_workers(
        workers, ray, cpus_per_worker, gpus_per_worker, max_worker_restarts, batch_timeout
    )
    option_values.check_model(model, aliases)
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.questions.chosen import Data, DataOptions

    # The data first: what is wrong with them is told before torch is imported.
    questions = Data.of(
        DataOptions(
            dataset, data, paraphrases, max_samples, offset, num_shots, num_manual, num_auto,
            seed, columns, encoding, split, answers_separator,
        )
    )  # fmt: skip
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.confidence import ConfidenceOptions
    from self_ensemble.jobs.confidence import estimate_confidence as run
    from self_ensemble.jobs.inputs import ModelOptions

    found = run(
        questions,
        model=ModelOptions(model, attention, device, dtype, trust_remote_code, aliases, engine),
        estimators=estimators,
        output_dir=output_dir,
        options=ConfidenceOptions(
            num_samples=100 if num_samples is None else num_samples,
            temperature=0.6 if temperature is None else temperature,
            top_p=0.9 if top_p is None else top_p,
            seed=seed,
            num_paraphrases=num_wordings,
            indices=chosen,
            chat_template=chat_template,
            max_new_tokens=max_new_tokens,
            stop=option_values.parse_stop(stop),
            batch_size=size,
            overwrite=overwrite,
            repair=repair,
        ),
        workers=on_workers,
        progress=ConsoleProgress(as_json=as_json),
    )  # fmt: skip
    _report(found, as_json=as_json)
    return 3 if found.failed else 0


def _report(found: "Results", *, as_json: bool) -> None:
    """Show what each estimator says on average, and where it is written."""
    values = {name: [row["confidence"] for row in found.rows(name)] for name in found.files}
    means = {}
    for name, of_rows in values.items():
        known = [value for value in of_rows if not isnan(value)]
        means[name] = fmean(known) if known else None
    per_question = found.seconds_per_question
    if as_json:
        document = {
            "files": {name: str(path) for name, path in found.files.items()},
            "mean_confidence": means,
            "errors": len(found.failed),
            "seconds_per_question": per_question,
            "counters": dict(found.counters),
        }
        typer.echo(json.dumps(document))
        return
    from rich import box
    from rich.table import Table

    from self_ensemble.cli.console import count, page_console

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("estimator")
    table.add_column("wordings", justify="right")
    table.add_column("mean confidence", justify="right")
    table.add_column("file")
    for name, mean in means.items():
        shown = "-" if mean is None else f"{mean:.3f}"
        table.add_row(name, str(len(values[name])), shown, found.files[name].name)
    page = page_console()
    page.print(table)
    page.print(f"in {found.folder}", soft_wrap=True, highlight=False)
    if per_question is not None:
        done = count(found.outcome.num_questions, "question")
        page.print(f"{done}, {per_question:.2f} s per question.", highlight=False)
    if found.failed:
        failed = count(len(found.failed), "question")
        page.print(f"{failed} could not be asked or answered; see column 'error'.")
    page.print("How far they can be trusted: self-ensemble analyze --calibration", highlight=False)

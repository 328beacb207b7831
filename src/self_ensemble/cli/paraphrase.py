"""`self-ensemble paraphrase`: N new wordings of every question, checked and kept in a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from self_ensemble.cli import option_values, worker_options
from self_ensemble.cli import options as opt
from self_ensemble.errors import UserError, at_least

WORDINGS = "Wordings"
CHECKS = ["none", "answer", "nli"]


def paraphrase(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="webqa, myriadlama, demo, or your own file. Without it, --output FILE --show K "
            "shows a finished file.",
            rich_help_panel=opt.DATA,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="File for the wordings, .jsonl or .feather; generate --paraphrases takes it.",
            rich_help_panel=opt.RESULT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Alias, hub id, folder or .gguf file. Default: smollm2_135m_it.",
            rich_help_panel=opt.MODEL,
        ),
    ] = None,
    num: Annotated[
        int | None,
        typer.Option(
            help="New wordings per question, N. Default: 5; with --human, all that pass.",
            rich_help_panel=WORDINGS,
        ),
    ] = None,
    human: Annotated[
        bool,
        typer.Option(
            "--human",
            help="Take the wordings that the data set has, instead of drawing new ones.",
            rich_help_panel=WORDINGS,
        ),
    ] = False,
    check: Annotated[
        str,
        typer.Option(
            help="Meaning check of each wording: none; answer (the model answers it as it answers "
            "the original); nli (original and wording entail each other).",
            rich_help_panel=WORDINGS,
        ),
    ] = "none",
    nli_model: Annotated[
        str | None,
        typer.Option(
            help="Entailment model for --check nli: hub id or folder.", rich_help_panel=WORDINGS
        ),
    ] = None,
    nli_threshold: Annotated[
        float | None,
        typer.Option(
            help="Least probability of entailment, both ways. Default: 0.5.",
            rich_help_panel=WORDINGS,
        ),
    ] = None,
    tries: Annotated[
        int | None,
        typer.Option(
            help="Most rounds of drawing, each in another style. Default: 16.",
            rich_help_panel=WORDINGS,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Of drawing. Default: 0.7.",
            rich_help_panel=WORDINGS,
            callback=option_values.check_temperature,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Nucleus. Default: 0.9.",
            rich_help_panel=WORDINGS,
            callback=option_values.check_top_p,
        ),
    ] = None,
    show: Annotated[
        int,
        typer.Option(
            help="Show the first K questions, kept and rejected wordings side by side.",
            rich_help_panel=opt.RESULT,
        ),
    ] = 0,
    data: opt.DataFolder = None,
    columns: opt.Columns = None,
    encoding: opt.Encoding = None,
    split: opt.Split = None,
    answers_separator: opt.AnswersSeparator = None,
    max_samples: opt.MaxSamples = None,
    offset: opt.Offset = 0,
    num_shots: opt.NumShots = 5,
    seed: opt.Seed = 0,
    attention: opt.Attention = "auto",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    engine: opt.Engine = "torch",
    trust_remote_code: opt.TrustRemoteCode = False,
    aliases: opt.Aliases = None,
    batch_size: opt.BatchSize = "auto",
    workers: worker_options.NumWorkers = None,
    ray: worker_options.RayAddress = None,
    cpus_per_worker: worker_options.CpusPerWorker = None,
    gpus_per_worker: worker_options.GpusPerWorker = None,
    max_worker_restarts: worker_options.MaxWorkerRestarts = None,
    batch_timeout: worker_options.BatchTimeout = None,
    overwrite: opt.Overwrite = False,
    repair: opt.Repair = False,
    as_json: opt.AsJson = False,
) -> int:
    """Reword every question N times, refuse what is no good, and keep the rest in a file.

    The questions are those that generate asks with the same --dataset, --max-samples,
    --num-shots and --seed. Rows are on disk batch by batch: a stopped or killed run goes on when
    started again. Exit code 3: some questions could not be reworded.
    """
    if output is None:
        raise UserError(
            "Give --output FILE, the file for the wordings (.jsonl or .feather).", "SE-0013"
        )
    at_least("--show", show, 0)
    at_least("--num", num, 1)
    option_values.one_of("check", check, CHECKS)
    if show and as_json:
        raise UserError("--show prints tables and --json one line. Give one of them.", "SE-0012")
    if dataset is None and not show:
        raise UserError(
            "Give --dataset to write wordings, or --show K to look at a file.", "SE-0013"
        )
    if temperature == 0:
        raise UserError(
            "Got --temperature 0: all draws would be alike. Give more than 0.", "SE-0607"
        )
    if human:
        drawing = {"--temperature": temperature, "--top-p": top_p, "--tries": tries}
        _refuse_ignored("--human draws nothing", drawing)
        if check != "answer":
            _refuse_ignored("--human without --check answer asks no model", {"--model": model})
    _check_entailment(check, nli_model, nli_threshold)
    on_workers = worker_options.parse_workers(
        workers, ray, cpus_per_worker, gpus_per_worker, max_worker_restarts, batch_timeout
    )
    size = option_values.parse_batch_size(batch_size)
    option_values.check_model(model, aliases)
    if dataset is None:
        return _show_file(output, show)
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.questions.chosen import Data, DataOptions
    from self_ensemble.wordings.output import Output

    Output.of(output)

    # The data first: what is wrong with them is told before torch is imported.
    questions = Data.of(
        DataOptions(
            dataset=dataset,
            data=data,
            max_samples=max_samples,
            offset=offset,
            num_shots=num_shots,
            seed=seed,
            columns=columns,
            encoding=encoding,
            split=split,
            answers_separator=answers_separator,
        )
    )
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.inputs import ModelOptions
    from self_ensemble.jobs.paraphrase import ParaphraseOptions
    from self_ensemble.jobs.paraphrase import paraphrase as run

    progress = ConsoleProgress(as_json=as_json)
    wordings = run(
        questions,
        output,
        model=ModelOptions(
            model=model or "smollm2_135m_it",
            attention=attention,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            aliases=aliases,
            engine=engine,
        ),
        options=ParaphraseOptions(
            num=num if human else num or 5,
            human=human,
            check=check,
            nli_model=nli_model,
            nli_threshold=0.5 if nli_threshold is None else nli_threshold,
            tries=16 if tries is None else tries,
            temperature=0.7 if temperature is None else temperature,
            top_p=0.9 if top_p is None else top_p,
            seed=seed,
            batch_size=size,
            overwrite=overwrite,
            repair=repair,
        ),
        workers=on_workers,
        progress=progress,
    )
    seconds = wordings.seconds
    if as_json:
        line = {
            "files": [str(file) for file in wordings.files],
            **asdict(wordings.summary),
            "seconds": None if seconds is None else round(seconds, 3),
        }
        typer.echo(json.dumps(line))
    else:
        from self_ensemble.report.wordings import summary_lines

        _show(wordings.rows()[:show])
        progress.say(f"Wordings: {', '.join(str(file) for file in wordings.files)}")
        for text in summary_lines(wordings.summary, num if human else num or 5, seconds):
            progress.say(text)
    return 3 if wordings.summary.errors else 0


def _show_file(path: Path, num_shown: int) -> int:
    """Show the first questions of a finished file; returns the exit code."""
    from self_ensemble.wordings.output import Output, read_rows

    store = Output.of(path).store
    if not store.exists():
        raise UserError(
            f"{store} does not exist. Give --dataset to make it, or another --output.", "SE-0204"
        )
    _show(read_rows(store)[:num_shown])
    return 0


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    from self_ensemble.cli.console import page_console
    from self_ensemble.report.wordings import wordings_view

    console = page_console()
    for row in rows:
        console.print(wordings_view(row))
        console.print()


def _check_entailment(check: str, nli_model: str | None, nli_threshold: float | None) -> None:
    if check != "nli":
        given = {"--nli-model": nli_model, "--nli-threshold": nli_threshold}
        _refuse_ignored("it belongs to --check nli", given)
    elif nli_model is None:
        raise UserError(
            "--check nli needs an entailment model. Name one with --nli-model.", "SE-0013"
        )
    if nli_threshold is not None and not 0 < nli_threshold <= 1:
        raise UserError(
            f"Got --nli-threshold {nli_threshold}. Give a number above 0, up to 1.", "SE-0010"
        )


def _refuse_ignored(why: str, given: Mapping[str, object]) -> None:
    """Refuse options that would change nothing."""
    for option, value in given.items():
        if value is not None:
            raise UserError(f"{option} would change nothing: {why}. Leave it out.", "SE-0012")

"""`self-ensemble learn-weights`: one weight per wording, fitted on a small labelled dev set."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from self_ensemble.cli import option_values, options, worker_options
from self_ensemble.cli.options import METHOD, RESULT
from self_ensemble.errors import at_least

if TYPE_CHECKING:
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.learned import LearnedResult


def learn_weights(
    dataset: options.Dataset,
    model: options.Model = "smollm2_135m_it",
    by: Annotated[
        str,
        typer.Option(
            help="index: one weight per wording index. template: one per template of each "
            "relation (myriadlama's manual templates).",
            rich_help_panel=METHOD,
        ),
    ] = "index",
    num_paraphrases: options.NumParaphrases = None,
    indices: options.Indices = None,
    folds: Annotated[
        int, typer.Option(help="Parts of the cross-validation.", rich_help_panel=METHOD)
    ] = 5,
    data: options.DataFolder = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    split: options.Split = None,
    answers_separator: options.AnswersSeparator = None,
    paraphrases: options.Paraphrases = None,
    max_samples: Annotated[
        int,
        typer.Option(
            help="Only the first M questions, at most 200.", rich_help_panel=options.DATA
        ),
    ] = 200,
    offset: options.Offset = 0,
    num_shots: options.NumShots = 5,
    num_manual: options.NumManual = None,
    num_auto: options.NumAuto = 0,
    chat_template: options.ChatTemplate = "off",
    seed: Annotated[
        int, typer.Option(help="Of few-shot choice and folds.", rich_help_panel=METHOD)
    ] = 0,
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
    output: Annotated[
        Path | None,
        typer.Option(
            help="File for the weights, .json. Default: the one that generate --weights learned "
            "reads.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    output_dir: options.OutputDir = Path("results"),
    overwrite: options.Overwrite = False,
    repair: options.Repair = False,
    as_json: options.AsJson = False,
) -> int:
    """Learn how much each wording counts from questions whose answers are known.

    The weights make the right answers most likely when the wordings are pooled as weighted_avg
    does. Use them on other questions: generate --weights learned refuses the ones learned from.
    """
    num_wordings = option_values.wordings_per_question(num_paraphrases, num_manual, num_auto)
    chosen, size = option_values.parse_indices(indices), option_values.parse_batch_size(batch_size)
    at_least("--max-samples", max_samples, 1)
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
    from self_ensemble.jobs.inputs import ModelOptions
    from self_ensemble.jobs.learn_options import LearnOptions
    from self_ensemble.jobs.learn_weights import learn_weights as run

    progress = ConsoleProgress(as_json=as_json)
    found = run(
        questions,
        model=ModelOptions(model, attention, device, dtype, trust_remote_code, aliases, engine),
        output=output,
        output_dir=output_dir,
        options=LearnOptions(
            by=by,
            num_paraphrases=num_wordings,
            indices=chosen,
            folds=folds,
            seed=seed,
            chat_template=chat_template,
            batch_size=size,
            overwrite=overwrite,
            repair=repair,
        ),
        workers=on_workers,
        progress=progress,
    )  # fmt: skip
    _report(found, progress, as_json=as_json)
    return 0


def _report(found: "LearnedResult", progress: "ConsoleProgress", *, as_json: bool) -> None:
    """Show what a file of learned weights holds, whether it is new or was there already."""
    document, learned, held_out = found.document, found.learned, found.held_out
    num_questions, left_out = len(document["dev_uuids"]), document["left_out"]
    if as_json:
        summary = {
            "file": str(found.path),
            "by": document["by"],
            "weights": learned.weights,
            "questions": num_questions,
            "left_out": len(left_out),
            "nll": learned.nll,
            "nll_uniform": learned.nll_uniform,
            "cross_validation": document["cross_validation"],
        }
        typer.echo(json.dumps(summary))
        return
    from self_ensemble.cli.console import count, page_console
    from self_ensemble.report.learned_weights import likelihood_table, weights_table

    page = page_console()
    page.print(weights_table(document["indices"], learned))
    page.print(likelihood_table(learned, held_out, num_questions))
    if not held_out.favours_learned:
        page.print(
            "On questions that they were not fitted on, learned weights are not clearly better "
            "than equal ones."
        )
    for uuid, reason in list(left_out.items())[:1]:
        not_asked = count(len(left_out), "question")
        progress.say(f"{not_asked} could not be asked; the first is {uuid}: {reason}")
    progress.say(f"Weights: {found.path}")

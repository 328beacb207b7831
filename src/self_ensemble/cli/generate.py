"""`self-ensemble generate`: answer a data set and keep the results."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from self_ensemble.cli import known_names, option_values, options, worker_options
from self_ensemble.cli.options import METHOD
from self_ensemble.cli.show_questions import questions_json, questions_page
from self_ensemble.errors import at_least

if TYPE_CHECKING:
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.results import Results


def generate(
    dataset: options.Dataset,
    model: options.Model = "smollm2_135m_it",
    method: Annotated[
        list[str],
        typer.Option(
            help="One or several, comma-separated: flex_attention, avg, max, weighted_avg, "
            "weighted_max, prob_avg, logprob_avg, min_entropy, contrast, gated, vote, origin, "
            "per_prompt, module:function, all.",
            rich_help_panel=METHOD,
            callback=known_names.methods,
        ),
    ] = ["flex_attention"],  # noqa: B006
    num_paraphrases: options.NumParaphrases = None,
    indices: options.Indices = None,
    segment_weights: Annotated[
        str,
        typer.Option(
            help="Weight of a wording inside attention: uniform (1/N), none, or a source as for "
            "--weights (scaled to sum 1).",
            rich_help_panel=METHOD,
        ),
    ] = "uniform",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of weighted_avg and weighted_max: confidence, logprob, margin, entropy, "
            "agreement or p_true (from `self-ensemble confidence`), learned (from `self-ensemble "
            "learn-weights`), or a column or file.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    contrast_strength: Annotated[
        float | None,
        typer.Option(
            help="How much of the prompt without the question contrast takes away. Default: 0.25.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    positions: options.Positions = "aligned",
    fusion_point: options.FusionPoint = "cue",
    manual_read_each_other: Annotated[
        bool,
        typer.Option(
            "--manual-read-each-other",
            help="Let MyriadLAMA's manual templates read the earlier ones (flex_attention).",
            rich_help_panel=METHOD,
        ),
    ] = False,
    data: options.DataFolder = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    split: options.Split = None,
    answers_separator: options.AnswersSeparator = None,
    paraphrases: options.Paraphrases = None,
    show_questions: options.ShowQuestions = None,
    max_samples: options.MaxSamples = None,
    offset: options.Offset = 0,
    num_shots: options.NumShots = 5,
    num_manual: options.NumManual = None,
    num_auto: options.NumAuto = 0,
    chat_template: options.ChatTemplate = "off",
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    seed: options.Seed = 0,
    attention: options.Attention = "auto",
    decode: options.Decode = "tree",
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
    attribution: options.Attribution = None,
    save_logprobs: options.SaveLogprobs = None,
    output_dir: options.OutputDir = Path("results"),
    overwrite: options.Overwrite = False,
    repair: options.Repair = False,
    as_json: options.AsJson = False,
) -> int:
    """Answer every question of a data set with one or several methods, from one prefill each.

    Rows are on disk batch by batch: a stopped or killed run goes on when started again.
    Exit code 3: some rows could not be asked; they are kept as error rows.
    """
    option_values.check_templates(manual_read_each_other, dataset, paraphrases)
    at_least("--show-questions", show_questions, 1)
    chosen = option_values.parse_indices(indices)
    on_workers = worker_options.parse_workers(
        workers, ray, cpus_per_worker, gpus_per_worker, max_worker_restarts, batch_timeout
    )
    num_wordings = option_values.wordings_per_question(num_paraphrases, num_manual, num_auto)
    kinds, size = (
        option_values.parse_attribution(attribution),
        option_values.parse_batch_size(batch_size),
    )
    option_values.check_model(model, aliases)
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.questions.chosen import Data, DataOptions
    from self_ensemble.weighting.sources import checked_sources

    # The data first: what is wrong with them is told before torch is imported.
    questions = Data.of(
        DataOptions(
            dataset, data, paraphrases, max_samples, offset, num_shots, num_manual, num_auto,
            seed, columns, encoding, split, answers_separator,
        )
    )  # fmt: skip
    if show_questions is not None:
        page = questions_json if as_json else questions_page
        typer.echo(page(questions.question_set, show_questions))
        return 0
    weights, segment_weights = checked_sources(weights, segment_weights, questions.question_set)
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.jobs.generate import generate as run
    from self_ensemble.jobs.generate_options import GenerateOptions
    from self_ensemble.jobs.inputs import ModelOptions
    from self_ensemble.walking.fusion import CONTRAST

    progress = ConsoleProgress(as_json=as_json)
    results = run(
        questions,
        model=ModelOptions(model, attention, device, dtype, trust_remote_code, aliases, engine),
        methods=option_values.parse_names(method),
        output_dir=output_dir,
        options=GenerateOptions(
            num_paraphrases=num_wordings,
            indices=chosen,
            manual_read_each_other=manual_read_each_other,
            weights=weights,
            segment_weights=segment_weights,
            contrast_strength=CONTRAST if contrast_strength is None else contrast_strength,
            positions=positions,
            fusion_point=fusion_point,
            chat_template=chat_template,
            max_new_tokens=max_new_tokens,
            stop=option_values.parse_stop(stop),
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            decode=decode,
            attribution=kinds,
            save_logprobs=save_logprobs,
            batch_size=size,
            overwrite=overwrite,
            repair=repair,
        ),
        workers=on_workers,
        progress=progress,
    )
    return report(results, progress, as_json=as_json)


def report(results: "Results", progress: "ConsoleProgress", *, as_json: bool) -> int:
    """Say where the results are and what was done; the exit code, 3 where some rows are errors."""
    # Every file is read for it.
    num_errors, per_question = len(results.failed), results.seconds_per_question
    exit_code = 3 if num_errors else 0
    if as_json:
        summary = {
            "files": {name: str(path) for name, path in results.files.items()},
            "answered": results.outcome.num_questions,
            "errors": num_errors,
            "seconds_per_question": per_question,
            "backend": results.backend,
            "counters": dict(results.counters),
        }
        typer.echo(json.dumps(summary))
        return exit_code
    from self_ensemble.cli.console import count
    from self_ensemble.results.paths import LOGPROBS

    progress.say(f"Results: {', '.join(path.name for path in results.files.values())}")
    progress.say(f"  in {results.folder}")
    if per_question is not None:
        num_methods = len(set(results.files) - {LOGPROBS})
        progress.say(
            f"{count(results.outcome.num_questions, 'question')}, "
            f"{count(num_methods, 'method')}, {per_question:.2f} s per question for all "
            f"of them, attention backend {results.backend}."
        )
    if num_errors:
        failed = count(num_errors, "question")
        progress.say(f"{failed} could not be asked or answered; see the column 'error'.")
    return exit_code

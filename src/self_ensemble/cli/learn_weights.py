"""`self-ensemble learn-weights`: one weight per wording, fitted on a small labelled dev set."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import options
from self_ensemble.cli.options import METHOD, RESULT, one_of


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
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
    batch_size: options.BatchSize = "auto",
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
    one_of("grouping", by, ["index", "template"])
    one_of("chat template setting", chat_template, ["auto", "on", "off"])
    num_wordings = options.wordings_per_question(num_paraphrases, num_manual, num_auto)
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.learn_weights_job import LearnJob, run_learn_job
    from self_ensemble.cli.setup import DataOptions, ModelOptions

    return run_learn_job(
        LearnJob(
            DataOptions(
                dataset, data, paraphrases, max_samples, offset, num_shots, num_manual, num_auto,
                seed, columns, encoding, split, answers_separator,
            ),
            ModelOptions(model, attention, device, dtype, trust_remote_code, aliases),
            by=by,
            num_paraphrases=num_wordings,
            indices=options.parse_indices(indices),
            folds=folds,
            chat_template=chat_template,
            batch_size=options.parse_batch_size(batch_size),
            output=output,
            output_dir=output_dir,
            overwrite=overwrite,
            repair=repair,
            as_json=as_json,
        )
    )  # fmt: skip

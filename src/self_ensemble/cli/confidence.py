"""`self-ensemble confidence`: how sure the model is of each wording."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import options
from self_ensemble.cli.options import METHOD, one_of
from self_ensemble.errors import UserError
from self_ensemble.results.paths import ESTIMATORS


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
        typer.Option(help="Of the samples. Default: 0.6.", rich_help_panel=METHOD),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Nucleus of the samples. Default: 0.9.", rich_help_panel=METHOD),
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
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
    batch_size: options.BatchSize = "auto",
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
    one_of("chat template setting", chat_template, ["auto", "on", "off"])
    options.at_least("--max-new-tokens", max_new_tokens, 1)
    options.at_least("--num-samples", num_samples, 1)
    estimators = options.parse_names(estimator)
    for name in estimators:
        one_of("estimator", name, [*ESTIMATORS, "all"])
    if not {"sampling", "all"} & set(estimators):
        for option, value in (
            ("--num-samples", num_samples), ("--temperature", temperature), ("--top-p", top_p),
        ):  # fmt: skip
            if value is not None:
                raise UserError(
                    f"{option} is for the estimator sampling, which is not asked for. "
                    "Leave it out, or add the estimator."
                )
    chosen = options.parse_indices(indices)
    num_wordings = options.wordings_per_question(num_paraphrases, num_manual, num_auto)
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.confidence_job import ConfidenceJob, run_confidence_job
    from self_ensemble.cli.setup import DataOptions, ModelOptions

    return run_confidence_job(
        ConfidenceJob(
            DataOptions(
                dataset, data, paraphrases, max_samples, offset, num_shots, num_manual, num_auto,
                seed, columns, encoding, split, answers_separator,
            ),
            ModelOptions(model, attention, device, dtype, trust_remote_code, aliases),
            estimators=estimators,
            num_samples=100 if num_samples is None else num_samples,
            temperature=0.6 if temperature is None else temperature,
            top_p=0.9 if top_p is None else top_p,
            num_paraphrases=num_wordings,
            indices=chosen,
            chat_template=chat_template,
            max_new_tokens=max_new_tokens,
            stop=options.parse_stop(stop),
            batch_size=options.parse_batch_size(batch_size),
            output_dir=output_dir,
            overwrite=overwrite,
            repair=repair,
            as_json=as_json,
        )
    )  # fmt: skip

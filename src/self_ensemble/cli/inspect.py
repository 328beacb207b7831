"""`self-ensemble inspect`: why a question was answered as it was, step by step."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from self_ensemble.cli import known_names, option_values, options
from self_ensemble.cli.options import DATA, METHOD
from self_ensemble.errors import UserError, at_least

if TYPE_CHECKING:
    from self_ensemble.questions.chosen import Questions

OUTPUT = "Output"


def inspect(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="webqa, myriadlama, demo, or your file or folder.",
            rich_help_panel=DATA,
        ),
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(help="Id of the question in the data set.", rich_help_panel=DATA),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="These wordings instead; once per wording.", rich_help_panel=DATA),
    ] = None,
    model: options.Model = "smollm2_135m_it",
    method: Annotated[
        list[str],
        typer.Option(
            help="One or several, comma-separated, as for generate; all.",
            rich_help_panel=METHOD,
            callback=known_names.methods,
        ),
    ] = ["flex_attention", "avg", "vote"],  # noqa: B006
    num_paraphrases: Annotated[
        int | None,
        typer.Option(
            help="Wordings of the question, N. Default 5; with --text all.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    indices: options.Indices = None,
    segment_weights: Annotated[
        str,
        typer.Option(
            help="Weight of a wording inside attention: uniform (1/N), none, or as for --weights "
            "(scaled to sum 1).",
            rich_help_panel=METHOD,
        ),
    ] = "uniform",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of weighted_avg and weighted_max: a source as for generate; with --text "
            "a number for each wording, 0.5,0.3,0.2.",
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
    num_shots: Annotated[
        int | None,
        typer.Option(help="Few-shot examples in the prefix. Default 5.", rich_help_panel=DATA),
    ] = None,
    num_manual: options.NumManual = None,
    num_auto: Annotated[
        int | None,
        typer.Option(help="Automatic templates per fact (myriadlama).", rich_help_panel=DATA),
    ] = None,
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
    output_dir: Annotated[
        Path,
        typer.Option(
            help="Folder of results, where --weights are looked for.", rich_help_panel=METHOD
        ),
    ] = Path("results"),
    top: Annotated[
        int, typer.Option(help="Likeliest tokens kept at each step.", rich_help_panel=OUTPUT)
    ] = 5,
    ahead: Annotated[
        int,
        typer.Option(
            help="Most tokens that each wording goes on with alone from each step.",
            rich_help_panel=OUTPUT,
        ),
    ] = 8,
    attribution: options.Attribution = None,
    step: Annotated[
        bool,
        typer.Option("--step", help="One step at a time, on a key.", rich_help_panel=OUTPUT),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page with a time line to click through, and print nothing else.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Everything as one JSON line.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Show why a question was answered as it was: what every wording said at every step.

    Answers, tokens and log-probabilities are those of generate for this question alone.
    """
    _check_output(step=step, html=html, as_json=as_json)
    at_least("--top", top, 1)
    at_least("--ahead", ahead, 0)
    _check_source(
        dataset, row, text,
        {
            "--data": data, "--columns": columns, "--encoding": encoding, "--split": split,
            "--answers-separator": answers_separator, "--paraphrases": paraphrases,
            "--num-shots": num_shots, "--num-manual": num_manual, "--num-auto": num_auto,
            "--num-paraphrases": num_paraphrases, "--indices": indices,
            "--manual-read-each-other": manual_read_each_other or None,
        },
    )  # fmt: skip
    option_values.check_templates(manual_read_each_other, dataset, paraphrases)
    chosen = option_values.parse_indices(indices)
    num_wordings = option_values.wordings_per_question(num_paraphrases, num_manual, num_auto or 0)
    kinds = option_values.parse_attribution(attribution)
    option_values.check_model(model, aliases)
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.questions.chosen import Data, DataOptions
    from self_ensemble.weighting.sources import checked_sources

    questions: Questions = ()
    if not text:
        # What is wrong with the data is told before torch is imported.
        questions = Data.of(DataOptions(
            dataset or "", data, paraphrases, None, 0, 5 if num_shots is None else num_shots,
            num_manual, num_auto or 0, seed, columns, encoding, split, answers_separator,
        ))  # fmt: skip
        weights, segment_weights = checked_sources(
            weights, segment_weights, questions.question_set
        )
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.cli.inspect_output import show
    from self_ensemble.jobs.generate_options import GenerateOptions
    from self_ensemble.jobs.inputs import ModelOptions
    from self_ensemble.jobs.inspect import inspect as run
    from self_ensemble.jobs.inspect import wordings_alone
    from self_ensemble.walking.fusion import CONTRAST

    if text:
        own = _own_weights(weights, segment_weights)
        questions, num_wordings = wordings_alone(text, own), len(text)
        # Each is a column of that one question, under the option's name.
        weights = "--weights" if "--weights" in own else None
        segment_weights = next(iter(own.keys() - {"--weights"}), segment_weights)
    trace = run(
        questions,
        row,
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
        ),
        num_top=top,
        num_ahead=ahead,
        progress=ConsoleProgress(as_json=as_json),
    )
    show(trace, step=step, html=html, as_json=as_json)


def _own_weights(weights: str | None, segment_weights: str) -> dict[str, tuple[float, ...]]:
    """The weights of wordings that stand in no file, by option."""
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.weighting.sources import WITHOUT_SOURCE

    found = {}
    if weights is not None:
        found["--weights"] = option_values.parse_weights("--weights", weights)
    if segment_weights not in WITHOUT_SOURCE:
        found["--segment-weights"] = option_values.parse_weights(
            "--segment-weights", segment_weights, "uniform, none, or "
        )
    return found


def _check_output(*, step: bool, html: Path | None, as_json: bool) -> None:
    """Refuse two ways of showing at once, and a page that is none."""
    given = {"--step": step, "--html": html is not None, "--json": as_json}
    asked = [option for option, is_given in given.items() if is_given]
    if len(asked) > 1:
        raise UserError(f"Got {' and '.join(asked)}. Give one of them.", "SE-0012")
    option_values.check_file("--html", html, ".html")
    if step and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "--step needs a terminal. Leave it out, or write a page with --html FILE.", "SE-0012"
        )


def _check_source(
    dataset: str | None, row: str | None, text: list[str] | None, of_data: Mapping[str, object]
) -> None:
    """Refuse no question, two, and options of the one beside the other."""
    if bool(text) == (dataset is not None):
        found = "Got --dataset and --text" if text else "Nothing to look into"
        raise UserError(
            f"{found}. Give --dataset NAME --row ID, or --text once per wording.", "SE-0013"
        )
    if not text and row is None:
        raise UserError(
            "--dataset needs --row ID: which question. The ids are those of result files; "
            f"`generate --dataset {dataset} --show-questions 20` shows some.",
            "SE-0013",
        )
    source = "--text" if text else "--dataset"
    option_values.refuse_unfit(source, ("--dataset",), {"--row": row, **of_data})

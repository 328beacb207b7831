"""`self-ensemble mask`: who may read whom, as text, and the proof of it on the user's model."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import known_names, option_values, options
from self_ensemble.cli.masks.options import (
    LONGEST,
    check_files,
    one_source,
    parse_lengths,
    parse_segment_weights,
    refuse_without_weights,
)
from self_ensemble.cli.option_values import parse_indices
from self_ensemble.cli.options import DATA, METHOD, MODEL
from self_ensemble.errors import UserError, at_least

OUTPUT = "Output"


def mask(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Draw a question of webqa, myriadlama, demo, or your file.",
            rich_help_panel=DATA,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Draw these wordings; once per wording.", rich_help_panel=DATA),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            help="Draw segments of these lengths, without a model: 40,38,45.",
            rich_help_panel=DATA,
        ),
    ] = None,
    index: Annotated[
        int | None,
        typer.Option(
            help="Which question of the data set, from 0 (default).", rich_help_panel=DATA
        ),
    ] = None,
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
    prefix: Annotated[
        int | None,
        typer.Option(
            help="Tokens of the prefix, with --lengths. Default 0.", rich_help_panel=DATA
        ),
    ] = None,
    cue: Annotated[
        int | None,
        typer.Option(help="Tokens of the cue, with --lengths. Default 2.", rich_help_panel=DATA),
    ] = None,
    num_paraphrases: Annotated[
        int | None,
        typer.Option(help="Wordings of the question, N. Default 5.", rich_help_panel=METHOD),
    ] = None,
    indices: options.Indices = None,
    manual_read_each_other: Annotated[
        bool,
        typer.Option(
            "--manual-read-each-other",
            help="MyriadLAMA's manual templates read earlier ones.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    positions: options.Positions = "aligned",
    fusion_point: options.FusionPoint = "cue",
    segment_weights: Annotated[
        str,
        typer.Option(
            help="uniform (1/N), none (1), or one per wording: 0.5,0.3,0.2.",
            rich_help_panel=METHOD,
        ),
    ] = "uniform",
    chat_template: Annotated[
        str | None,
        typer.Option(
            help="auto, on or off. Default off.",
            rich_help_panel=METHOD,
            callback=known_names.chat_template,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of few-shot choice. Default 0.", rich_help_panel=METHOD),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Alias, hub id, folder or .gguf file. Default smollm2_135m_it.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(
            help="Of --check and --compare: auto, sdpa, flex or eager.",
            rich_help_panel=MODEL,
            callback=known_names.attention,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="auto, cpu, cuda, cuda:N or mps.",
            rich_help_panel=MODEL,
            callback=known_names.device,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="auto, float32, bfloat16 or float16.",
            rich_help_panel=MODEL,
            callback=known_names.dtype,
        ),
    ] = None,
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
    generated: Annotated[
        int, typer.Option(help="Generated tokens to draw.", rich_help_panel=OUTPUT)
    ] = 5,
    prompt: Annotated[
        bool,
        typer.Option(
            "--prompt", help="Also print the packed prompt in full.", rich_help_panel=OUTPUT
        ),
    ] = False,
    png: Annotated[
        Path | None,
        typer.Option(help="Also draw all of it as a heat map.", rich_help_panel=OUTPUT),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Also write a page: a heat map to point at and zoom into, beside the prompt.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    blocks: Annotated[
        bool,
        typer.Option(
            "--blocks",
            help="Also draw the BlockMask that FlexAttention gets, and the work that it saves.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Prove on the model that no wording reads another; exit code 1 if one does.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Beside it the wordings one after the other under a causal mask; both answer.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> None:
    """Draw who may read whom in a packed question, and prove that wordings are isolated."""
    source = one_source(dataset, text, lengths)
    of_dataset = {
        "--index": index, "--num-paraphrases": num_paraphrases, "--indices": indices,
        "--data": data, "--columns": columns, "--encoding": encoding, "--split": split,
        "--answers-separator": answers_separator, "--paraphrases": paraphrases,
        "--num-shots": num_shots,
        "--num-manual": num_manual, "--num-auto": num_auto, "--seed": seed,
        "--manual-read-each-other": manual_read_each_other or None,
    }  # fmt: skip
    of_model = {
        "--model": model, "--prompt": prompt or None, "--check": check or None,
        "--compare": compare or None, "--chat-template": chat_template,
        "--trust-remote-code": trust_remote_code or None, "--aliases": aliases,
    }  # fmt: skip
    of_weights: dict[str, object] = {
        "--attention": attention,
        "--device": device,
        "--dtype": dtype,
    }
    option_values.refuse_unfit(source, ("--dataset",), of_dataset)
    option_values.refuse_unfit(source, ("--dataset", "--text"), {**of_model, **of_weights})
    refuse_without_weights(check or compare, of_weights)
    option_values.refuse_unfit(source, ("--lengths",), {"--prefix": prefix, "--cue": cue})
    weights = parse_segment_weights(segment_weights)
    at_least("--generated", generated, 0)
    at_least("--prefix", prefix, 0)
    at_least("--cue", cue, 1)
    at_least("--num-paraphrases", num_paraphrases, 1)
    option_values.check_templates(manual_read_each_other, dataset, paraphrases)
    if check and manual_read_each_other:
        raise UserError(
            "--check proves that no wording reads another, which --manual-read-each-other lets "
            "them do. Leave one of them out.",
            "SE-0012",
        )
    check_files(png, html)
    token_counts = parse_lengths(lengths) if lengths is not None else ()
    if sum(token_counts) + (prefix or 0) + (cue or 0) + generated > LONGEST:
        raise UserError(
            f"Got more than {LONGEST:,} tokens in all. Give smaller numbers.", "SE-0010"
        )
    if source != "--lengths":
        option_values.check_model(model, aliases)
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.questions.chosen import DataOptions

    # The data first: what is wrong with them is told before torch is imported.
    questions = None
    if dataset is not None:
        questions = DataOptions(
            dataset,
            data=data,
            paraphrases=paraphrases,
            num_shots=5 if num_shots is None else num_shots,
            num_manual=num_manual,
            num_auto=num_auto or 0,
            seed=seed or 0,
            columns=columns,
            encoding=encoding,
            split=split,
            answers_separator=answers_separator,
        ).load()
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.masks.drawing import Drawing
    from self_ensemble.cli.masks.job import MaskJob, draw_lengths, draw_wordings
    from self_ensemble.cli.masks.pictures import Pictures
    from self_ensemble.jobs.inputs import ModelOptions

    drawing = Drawing(generated, positions, fusion_point, weights)
    pictures = Pictures(png, html, blocks, typer.echo)
    if source == "--lengths":
        num_cue = 2 if cue is None else cue
        draw_lengths(drawing, prefix or 0, token_counts, num_cue, pictures)
        return
    job = MaskJob(
        drawing=drawing,
        questions=questions,
        texts=tuple(text or ()),
        model=ModelOptions(
            model or "smollm2_135m_it",
            attention=attention or "auto",
            device=device or "auto",
            dtype=dtype or "auto",
            trust_remote_code=trust_remote_code,
            aliases=aliases,
        ),
        index=index or 0,
        num_paraphrases=5 if num_paraphrases is None else num_paraphrases,
        indices=parse_indices(indices),
        manual_read_each_other=manual_read_each_other,
        chat_template=chat_template or "off",
        prompt=prompt,
        check=check,
        compare=compare,
    )
    if not draw_wordings(job, pictures):
        raise typer.Exit(1)

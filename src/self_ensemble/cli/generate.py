"""`self-ensemble generate`: answer a data set and keep the results."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.errors import UserError, unknown_name

DATA, MODEL, METHOD, RESULT = "Data", "Model", "Method", "Results"


def generate(
    dataset: Annotated[
        str, typer.Option(help="webqa, myriadlama, demo, or your own file.", rich_help_panel=DATA)
    ],
    model: Annotated[
        str, typer.Option(help="Alias, hub id, folder or .gguf file.", rich_help_panel=MODEL)
    ] = "smollm2_135m_it",
    method: Annotated[
        list[str],
        typer.Option(
            help="One or several, comma-separated: flex_attention, avg, max, weighted_avg, "
            "weighted_max, prob_avg, logprob_avg, vote, origin, per_prompt, module:function, all.",
            rich_help_panel=METHOD,
        ),
    ] = ["flex_attention"],  # noqa: B006
    num_paraphrases: Annotated[
        int | None,
        typer.Option(
            help="Wordings per question, N. Default: 5; with --num-manual or --num-auto, their "
            "sum (5 manual ones where not given).",
            rich_help_panel=METHOD,
        ),
    ] = None,
    indices: Annotated[
        str | None,
        typer.Option(
            "--indices",
            "--indexs",
            help="These wordings instead, for example 0,2,4.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    segment_weights: Annotated[
        str,
        typer.Option(
            help="Weight of a wording inside attention: uniform (1/N), none, or a column or file "
            "(scaled to sum 1).",
            rich_help_panel=METHOD,
        ),
    ] = "uniform",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Column or file with the weights of weighted_avg and weighted_max.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    positions: Annotated[
        str, typer.Option(help="aligned or contiguous.", rich_help_panel=METHOD)
    ] = "aligned",
    fusion_point: Annotated[
        str, typer.Option(help="cue or last_segment.", rich_help_panel=METHOD)
    ] = "cue",
    manual_read_each_other: Annotated[
        bool,
        typer.Option(
            "--manual-read-each-other",
            help="Let MyriadLAMA's manual templates read the earlier ones (flex_attention).",
            rich_help_panel=METHOD,
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the data set's files.", rich_help_panel=DATA),
    ] = None,
    paraphrases: Annotated[
        Path | None,
        typer.Option(help="File with wordings for the questions.", rich_help_panel=DATA),
    ] = None,
    max_samples: Annotated[
        int | None, typer.Option(help="Only the first M questions.", rich_help_panel=DATA)
    ] = None,
    num_shots: Annotated[
        int, typer.Option(help="Few-shot examples in the prefix.", rich_help_panel=DATA)
    ] = 5,
    num_manual: Annotated[
        int | None,
        typer.Option(help="Manual templates per fact (myriadlama).", rich_help_panel=DATA),
    ] = None,
    num_auto: Annotated[
        int, typer.Option(help="Automatic templates per fact (myriadlama).", rich_help_panel=DATA)
    ] = 0,
    chat_template: Annotated[
        str, typer.Option(help="auto, on or off.", rich_help_panel=METHOD)
    ] = "off",
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="Longest answer; default: the data set's.", rich_help_panel=METHOD),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            help=r"String that ends an answer, \n for a line break; repeatable. Default: the "
            'data set\'s; "" for none.',
            rich_help_panel=METHOD,
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", rich_help_panel=METHOD)] = 0.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.", rich_help_panel=METHOD)] = 1.0,
    seed: Annotated[
        int, typer.Option(help="Of few-shot choice and sampling.", rich_help_panel=METHOD)
    ] = 0,
    attention: Annotated[
        str, typer.Option(help="auto, sdpa, flex or eager.", rich_help_panel=MODEL)
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MODEL)
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=MODEL)
    ] = "auto",
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run code that comes with the model.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    aliases: Annotated[
        Path | None, typer.Option(help="TOML file with your aliases.", rich_help_panel=MODEL)
    ] = None,
    batch_size: Annotated[
        str, typer.Option(help="Questions per batch, or auto.", rich_help_panel=MODEL)
    ] = "auto",
    output_dir: Annotated[
        Path, typer.Option(help="Folder of all results.", rich_help_panel=RESULT)
    ] = Path("results"),
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Start anew over old results.", rich_help_panel=RESULT),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line, no progress.", rich_help_panel=RESULT)
    ] = False,
) -> int:
    """Answer every question of a data set with one or several methods, from one prefill each.

    Rows are on disk batch by batch: a stopped or killed run goes on when started again.
    Exit code 3: some rows could not be asked; they are kept as error rows.
    """
    one_of("positions", positions, ["aligned", "contiguous"])
    one_of("fusion point", fusion_point, ["cue", "last_segment"])
    one_of("chat template setting", chat_template, ["auto", "on", "off"])
    chosen = parse_indices(indices)
    if num_paraphrases is not None and num_paraphrases < 1:
        raise UserError(f"Got --num-paraphrases {num_paraphrases}. Give 1 or more.")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise UserError(f"Got --max-new-tokens {max_new_tokens}. Give 1 or more.")
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.cli.jobs import Job, run_job

    return run_job(
        Job(
            dataset=dataset,
            data=data,
            paraphrases=paraphrases,
            max_samples=max_samples,
            num_shots=num_shots,
            num_manual=num_manual,
            num_auto=num_auto,
            model=model,
            attention=attention,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            aliases=aliases,
            methods=tuple(
                name.strip() for part in method for name in part.split(",") if name.strip()
            ),
            num_paraphrases=(
                (5 if num_manual is None else num_manual) + num_auto
                if num_paraphrases is None
                else num_paraphrases
            ),
            indices=chosen,
            manual_read_each_other=manual_read_each_other,
            weights=weights,
            segment_weights=segment_weights,
            positions=positions,
            fusion_point=fusion_point,
            chat_template=chat_template,
            max_new_tokens=max_new_tokens,
            stop=None if stop is None else tuple(s.replace("\\n", "\n") for s in stop if s),
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            batch_size=parse_batch_size(batch_size),
            output_dir=output_dir,
            overwrite=overwrite,
            as_json=as_json,
        )
    )


def one_of(kind: str, given: str, known: list[str]) -> None:
    """Refuse a value that is not in the list, with the nearest one."""
    if given not in known:
        raise unknown_name(kind, given, known)


def parse_indices(text: str | None) -> tuple[int, ...] | None:
    """Read "0,2,4"."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) != len(parts):
        raise UserError(f"Got --indices {text!r}. Give different numbers from 0, such as 0,2,4.")
    return tuple(int(part) for part in parts)


def parse_batch_size(text: str) -> int | None:
    """Read "auto" (None) or a number."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"Got --batch-size {text!r}. Give auto or a number from 1.")
    return int(text)

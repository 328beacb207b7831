"""`self-ensemble bench`: this engine beside transformers' `generate` and the published loop."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.errors import UserError

WORK, RUN, OUT = "Work", "Run", "Output"


def bench(
    model: Annotated[
        str, typer.Option(help="Alias, hub id, folder or .gguf file.", rich_help_panel=WORK)
    ] = "smollm2_135m_it",
    random_weights: Annotated[
        str | None,
        typer.Option(
            help="Architecture with random weights instead, for example llama3.2_3b; nothing is "
            "downloaded.",
            rich_help_panel=WORK,
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="P,N,S,T",
            help="Random tokens instead of the bundled questions: tokens of the prefix, wordings, "
            "tokens of each, new tokens.",
            rich_help_panel=WORK,
        ),
    ] = None,
    num_paraphrases: Annotated[
        int, typer.Option(help="Wordings of the bundled questions, N.", rich_help_panel=WORK)
    ] = 5,
    num_shots: Annotated[
        int, typer.Option(help="Examples before them.", rich_help_panel=WORK)
    ] = 5,
    max_new_tokens: Annotated[
        int, typer.Option(help="Tokens of every timed answer.", rich_help_panel=WORK)
    ] = 20,
    batch_size: Annotated[
        int, typer.Option(help="Questions per batch.", rich_help_panel=WORK)
    ] = 16,
    questions: Annotated[
        int | None,
        typer.Option(help="Questions per repetition. Default: one batch.", rich_help_panel=WORK),
    ] = None,
    rivals: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: published, generate_one, generate_five, a method, or all (all "
            "methods in one go). Default: published, generate_one, generate_five, flex_attention, "
            "avg, per_prompt, vote, all.",
            rich_help_panel=RUN,
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Rounds.", rich_help_panel=RUN)] = 3,
    published_questions: Annotated[
        int, typer.Option(help="Questions of the published loop.", rich_help_panel=RUN)
    ] = 1,
    published_repeats: Annotated[
        int, typer.Option(help="Rounds of the published loop.", rich_help_panel=RUN)
    ] = 1,
    check_questions: Annotated[
        int,
        typer.Option(
            help="Questions whose answers are compared with the oracle first.", rich_help_panel=RUN
        ),
    ] = 2,
    skip_stop_run: Annotated[
        bool,
        typer.Option(
            "--skip-stop-run", help="Leave out answers that end early.", rich_help_panel=RUN
        ),
    ] = False,
    grow: Annotated[
        str | None,
        typer.Option(
            help="Growth with num_paraphrases, prefix, questions or batch, instead.",
            rich_help_panel=RUN,
        ),
    ] = None,
    grow_values: Annotated[
        str | None, typer.Option(help="Its values, for example 1,2,5.", rich_help_panel=RUN)
    ] = None,
    plain_layers: Annotated[
        bool,
        typer.Option(
            "--plain-layers",
            help="Ours: on plain linear layers, as transformers' generate is.",
            rich_help_panel=RUN,
        ),
    ] = False,
    attention: Annotated[
        str, typer.Option(help="Ours: auto, sdpa, flex or eager.", rich_help_panel=RUN)
    ] = "auto",
    decode: Annotated[
        str, typer.Option(help="Ours: tree, captured or compiled.", rich_help_panel=RUN)
    ] = "tree",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUN)
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=RUN)
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="Threads. Default: PyTorch's.", rich_help_panel=RUN)
    ] = None,
    aliases: Annotated[
        Path | None, typer.Option(help="TOML file with your aliases.", rich_help_panel=WORK)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also write a picture (PNG).", rich_help_panel=OUT)
    ] = None,
    write_results: Annotated[
        Path | None,
        typer.Option(help="Also append a dated table to this Markdown file.", rich_help_panel=OUT),
    ] = None,
) -> None:
    """Measure speed and memory beside rivals, after the answers were found to be right.

    The last line of the output is one JSON document with all numbers.
    """
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.bench.job import BenchJob, print_document, run_bench
    from self_ensemble.bench.line_up import RIVALS

    job = BenchJob(
        model=model,
        random_weights=random_weights,
        shape=shape,
        num_paraphrases=num_paraphrases,
        num_shots=num_shots,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        questions=questions,
        rivals=RIVALS if rivals is None else _names(rivals),
        repeats=repeats,
        published_questions=published_questions,
        published_repeats=published_repeats,
        check_questions=check_questions,
        skip_stop_run=skip_stop_run,
        grow=grow,
        grow_values=None if grow_values is None else _numbers(grow_values),
        plain_layers=plain_layers,
        attention=attention,
        decode=decode,
        device=device,
        dtype=dtype,
        threads=threads,
        aliases=aliases,
        plot=plot,
        write_results=write_results,
    )
    print_document(run_bench(job, ["self-ensemble", *sys.argv[1:]]))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UserError(f"Got --rivals {text!r}. Give at least one name, or leave it out.")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"Got --grow-values {text!r}. Give whole numbers, such as 1,2,5.")
    return tuple(int(part) for part in parts)

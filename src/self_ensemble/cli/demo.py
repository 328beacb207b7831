"""`self-ensemble demo`: the main job on the bundled questions, with a table to look at."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import option_values, options

SHOWN = ("flex_attention", "avg", "vote")


def demo(
    model: options.Model = "smollm2_135m_it",
    max_samples: Annotated[int | None, typer.Option(help="Only the first M questions.")] = None,
    engine: options.Engine = "torch",
    output_dir: options.OutputDir = Path("results"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Answer again over old results.")
    ] = False,
    repair: options.Repair = False,
) -> int:
    """Answer the bundled questions with every method and compare the methods.

    Where matplotlib is installed all of it is also written as a page, report.html.
    """
    option_values.check_model(model, None)
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.analysis.score_table import score_table
    from self_ensemble.cli.console import ConsoleProgress, page_console
    from self_ensemble.cli.generate import report
    from self_ensemble.jobs.generate import generate
    from self_ensemble.jobs.generate_options import GenerateOptions
    from self_ensemble.jobs.inputs import ModelOptions
    from self_ensemble.questions.chosen import DataOptions
    from self_ensemble.report.can_draw import can_draw
    from self_ensemble.report.examples import choose_examples, example_view, make_examples
    from self_ensemble.report.results_page.job import write_report
    from self_ensemble.report.tables import score_view
    from self_ensemble.results import load
    from self_ensemble.scoring.lemmas import lemmatiser_named

    progress = ConsoleProgress()
    results = generate(
        DataOptions("demo", max_samples=max_samples),
        model=ModelOptions(model, engine=engine),
        methods=["all"],
        output_dir=output_dir,
        options=GenerateOptions(overwrite=overwrite, repair=repair),
        progress=progress,
    )
    exit_code = report(results, progress, as_json=False)
    console = page_console()
    rows = {method: results.rows(method) for method in ("per_prompt", *SHOWN)}
    lemmatiser = lemmatiser_named("simplemma")
    fused = {method: rows[method] for method in SHOWN}
    for example in choose_examples(make_examples(rows["per_prompt"], fused, lemmatiser)):
        console.print()
        console.print(example_view(example))
    console.print()
    console.print(score_view(score_table([load(results.folder)])))
    if can_draw():
        page = write_report(
            "demo", model, output_dir=output_dir, output=results.folder / "report.html"
        )
        typer.echo(f"Report: {page}")
    else:
        typer.echo('No report: it needs matplotlib. Run: pip install "self-ensemble[plots]"')
    return exit_code

"""How `inspect` shows a trace: in the terminal, step by step, as a page, or as JSON."""

import json
from pathlib import Path

import typer
from rich.console import Console

from self_ensemble.cli.console import page_console
from self_ensemble.report.files import write_file
from self_ensemble.report.trace_page import trace_page
from self_ensemble.report.trace_view import pages, trace_view
from self_ensemble.tracing.trace import Trace

FORWARD = ("\r", "\n", " ", "n", "\x1b[C", "\x1b[B")  # the last two are arrows
BACK = ("b", "p", "\x1b[D", "\x1b[A", "\x7f", "\x08")
QUIT = ("q", "\x1b")


def show(trace: Trace, *, step: bool, html: Path | None, as_json: bool) -> None:
    """Show a trace in the way that was asked for.

    Raises:
        UserError: The page cannot be written, or would be too large.
    """
    if as_json:
        typer.echo(json.dumps(trace.as_dict(), allow_nan=False))
    elif html is not None:
        write_file(html, trace_page(trace))
        typer.echo(f"Page: {html}", err=True)
    elif step:
        walk(trace, page_console())
    else:
        console = page_console()
        console.print(trace_view(trace, console.width))


def walk(trace: Trace, console: Console) -> None:
    """Show the pieces of a trace one at a time, forward and back on keys."""
    pieces = pages(trace, console.width)
    place = 0
    while True:
        console.clear()
        console.print(pieces[place])
        console.print(
            f"\n{place + 1} of {len(pieces)}. Space or right: on; b or left: back; q: end.",
            style="dim",
            highlight=False,
        )
        try:
            key = typer.getchar()
        except EOFError:  # Ctrl-D
            return
        if key in QUIT:
            return
        if key in FORWARD:
            place = min(place + 1, len(pieces) - 1)
        elif key in BACK:
            place = max(place - 1, 0)

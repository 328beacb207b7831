"""The tables: for the terminal, and as Markdown for a file of results."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.grow import Point
from benchmarks.summary import Row

DASH = "-"
LEGEND = (
    "ms/question: median, p10 and p90 of the repetitions; ours includes the shared prefix. "
    "first: first tokens of a batch, without the shared prefix; step: each further token of it. "
    "tokens: through the model per question, padding included. peak: memory above what is held "
    "between two runs: weights, packed layers, the encoded prefix. "
    "floor: roofline of the rival's own job; share: floor by time. "
    "prefill, decode: share of the measured matrix product, by the faster library here, and of "
    "the measured copy. generate and the published loop run on plain linear layers."
)
COLUMNS: dict[str, Callable[[Row], str]] = {
    "questions/s": lambda row: _number(row.questions_per_s.median),
    "ms/question": lambda row: _number(row.ms_per_question.median),
    "p10": lambda row: _number(row.ms_per_question.p10),
    "p90": lambda row: _number(row.ms_per_question.p90),
    "first ms": lambda row: _number(row.first_token_ms.median),
    # Two runs are compared: where steps are nearly free, noise can exceed them.
    "step ms": lambda row: _number(row.step_ms.median if row.step_ms.median > 0 else nan),
    "tokens": lambda row: _number(row.tokens_per_question),
    "peak MiB": lambda row: _number(row.peak_bytes / 2**20),
    "floor ms": lambda row: _number(row.floor_ms_per_question),
    "share": lambda row: _share(row.roofline_share),
    "prefill": lambda row: _share(row.prefill_share),
    "decode": lambda row: _share(row.decode_share),
}
GROWTH_COLUMNS = ("ms/question", "p10", "p90", "tokens", "peak MiB", "share")


def rows_view(title: str, rows: Sequence[Row], speedups: Mapping[str, float]) -> RenderableType:
    """One table of rivals and how they compare."""
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("rival", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = [cell(row) for cell in COLUMNS.values()]
        table.add_row(row.name, *cells, style="bold" if row.is_ours else "")
    return Group(table, *(Text(line) for line in ratio_lines(speedups)))


def ratio_lines(speedups: Mapping[str, float]) -> list[str]:
    """The comparisons, one a line."""
    return [
        f"{name}: {_number(value)}" + ("x as fast" if " against " in name else " times")
        for name, value in speedups.items()
    ]


def growth_view(what: str, points: Sequence[Point]) -> RenderableType:
    """How time and memory grow with one thing."""
    table = Table(what, "rival", title=f"Growth with {what}", title_justify="left",
                  box=box.SIMPLE_HEAD)  # fmt: skip
    for name in GROWTH_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for value, row in points:
        table.add_row(str(value), row.name, *(COLUMNS[name](row) for name in GROWTH_COLUMNS))
    return table


def rows_markdown(rows: Sequence[Row]) -> str:
    """The table of rivals as Markdown."""
    lines = [
        "| rival | " + " | ".join(COLUMNS) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
        *(
            f"| {row.name} | " + " | ".join(cell(row) for cell in COLUMNS.values()) + " |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """Three digits that matter, without powers of ten."""
    if isnan(value):
        return DASH
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def _share(value: float) -> str:
    return DASH if isnan(value) else f"{100 * value:.0f} %"

"""Tables of numbers, one name a row, and their cells: percentages, intervals, unknown numbers."""

import re
from collections.abc import Iterable, Sequence
from math import isnan

from rich import box
from rich.table import Table
from rich.text import Text

from self_ensemble.scoring.statistics import Estimate

MISSING = "-"
_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "[": "{[}",
    "]": "{]}",
    # Behind the end of a line it would belong to that.
    "*": "{*}",
    # In LaTeX's default font encoding it is a dash.
    "|": r"\textbar{}",
}
# As a table is as wide as its numbers, one that is wider than the page is made smaller.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
LATEX_NEEDS = r"% In the preamble: \usepackage{booktabs,graphicx}"


def percent(fraction: float, *, signed: bool = False) -> str:
    """A fraction as a percentage with one decimal; a dash if it is nan."""
    if isnan(fraction):
        return MISSING
    # Adding 0.0 turns the -0.0 of a rounded small negative into 0.0.
    value = round(100 * fraction, 1) + 0.0
    return f"{value:+.1f}" if signed and value else f"{value:.1f}"


def percent_interval(estimate: Estimate, *, signed: bool = False) -> str:
    """An estimate in percent, with its interval where there is one."""
    value = percent(estimate.value, signed=signed)
    if isnan(estimate.low):
        return value
    low, high = percent(estimate.low, signed=signed), percent(estimate.high, signed=signed)
    return f"{value} [{low}, {high}]"


def p_cell(p_value: float) -> str:
    """A p-value with three decimals, or that it is smaller; a dash if it is nan."""
    if isnan(p_value):
        return MISSING
    return "<0.001" if p_value < 0.0005 else f"{p_value:.3f}"


def decimal(number: float) -> str:
    """A number with three decimals; a dash if it is nan."""
    return MISSING if isnan(number) else f"{number:.3f}"


def seconds_cell(seconds: float) -> str:
    """Seconds with three digits; a dash if they are nan."""
    return MISSING if isnan(seconds) else f"{seconds:.3g}"


def tokens_cell(tokens: float) -> str:
    """A mean number of tokens with one decimal; a dash if it is nan."""
    return MISSING if isnan(tokens) else f"{tokens:.1f}"


def decimal_interval(estimate: Estimate) -> str:
    """An estimate with three decimals, with its interval where there is one."""
    value = decimal(estimate.value)
    if isnan(estimate.low):
        return value
    return f"{value} [{decimal(estimate.low)}, {decimal(estimate.high)}]"


def number_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], num_names: int = 1
) -> Table:
    """Draw a table for the terminal, whose first columns have names and whose others numbers."""
    # Text, not str: rich would read "[12.1, 15.9]" as markup.
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    for index, name in enumerate(header):
        # A long file name folds rather than pushing the numbers out of their lines.
        is_name = index < num_names
        table.add_column(
            Text(name),
            justify="left" if is_name else "right",
            overflow="fold",
            no_wrap=not is_name,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def number_table_markdown(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], num_names: int = 1
) -> list[str]:
    """Write the same table as lines of Markdown, with an empty line behind it."""
    return [
        f"**{title}**",
        "",
        _markdown_line(header),
        _markdown_line([*["---"] * num_names, *["---:"] * (len(header) - num_names)]),
        *map(_markdown_line, rows),
        "",
    ]


def number_table_latex(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    num_names: int = 1,
    note: str = "",
) -> list[str]:
    """Write the same table for LaTeX, with an empty line behind it.

    It needs booktabs, and graphicx, by which a table wider than the page is made smaller.
    """
    columns = "l" * num_names + "r" * (len(header) - num_names)
    note_line = [rf"  \par\smallskip\raggedright {latex_text(note)}"] if note else []
    return [
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{latex_text(title)}}}",
        "  \\footnotesize",
        "  \\setlength{\\tabcolsep}{4pt}",
        f"  {_FIT}",
        f"  \\begin{{tabular}}{{{columns}}}",
        "    \\toprule",
        "    " + " & ".join(map(_latex_header, header)) + r" \\",
        "    \\midrule",
        *(f"    {_latex_line(row)}" for row in rows),
        "    \\bottomrule",
        "  \\end{tabular}}",
        *note_line,
        "\\end{table}",
        "",
    ]


def latex_text(text: str) -> str:
    """A text as LaTeX prints it: what LaTeX reads as a command, escaped."""
    escaped = "".join(_LATEX.get(letter, letter) for letter in text.replace("\n", " "))
    # Two hyphens would become a dash; one before a number is a minus.
    escaped = re.sub(r"-(?=-)", "-{}", escaped)
    return re.sub(r"(?<![^\s}])-(?=\d)", "$-$", escaped)


def _latex_header(title: str) -> str:
    lines = r"\\".join(map(latex_text, title.split("\n")))
    return rf"\shortstack[r]{{{lines}}}" if "\n" in title else lines


def _latex_line(cells: Iterable[str]) -> str:
    dashed = ("--" if cell == MISSING else latex_text(cell) for cell in cells)
    return " & ".join(dashed) + r" \\"


def empty_if_unknown(values: Iterable[object]) -> list[object]:
    """Values for CSV: nan and None are empty fields."""
    return ["" if _is_unknown(value) else value for value in values]


def none_if_unknown(values: Iterable[object]) -> list[object]:
    """Values for JSON: nan is None."""
    return [None if _is_unknown(value) else value for value in values]


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _is_unknown(value: object) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))

"""Which wording decided which token: a coloured strip, tokens by wordings, and a bar a wording.

T tokens of an answer, N wordings.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from rich import box
from rich.color import Color
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from self_ensemble.report.trace_texts import visible, wording_name

CELL = 9  # columns of a token in a terminal, its border included
NAMES = 34  # columns that names and bars take
BAR_CELLS = 10
SHARES = ("mass", "share")
FOR, AGAINST = (63, 124, 172), (179, 38, 30)
WHAT = {
    "mass": "share of the attention that predicts each token, mean over heads and layers",
    "leave_one_out": "log-probability of each token less what it is without the wording, nats",
    "shapley": "Shapley values of each token's log-probability, nats",
    "share": "share of the score that the rule gives each token",
}


class Attributed(Protocol):
    """What is attributed to each wording.

    Attributes:
        kind: How it was found.
        method: Whose answer it is of.
        tokens: Texts of the answer's tokens, `(T,)`.
        wordings: N.
        values: Of each wording at each token, `(T, N)`.
        total: Of each wording for the whole answer, `(N,)`.
    """

    @property
    def kind(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def tokens(self) -> Sequence[str]: ...
    @property
    def wordings(self) -> int: ...
    @property
    def values(self) -> Sequence[Sequence[float]]: ...
    @property
    def total(self) -> Sequence[float]: ...


class Cell(NamedTuple):
    """A value as text, and how strong its colour is: from -1, against the answer, to 1."""

    text: str
    strength: float


class Strip(NamedTuple):
    """A strip ready to be drawn.

    Attributes:
        title: What it is of.
        what: What the values are.
        tokens: The tokens, as they are shown.
        rows: Of each wording its number, the cell of the whole answer, and those of the tokens.
    """

    title: str
    what: str
    tokens: tuple[str, ...]
    rows: tuple[tuple[int, Cell, tuple[Cell, ...]], ...]


def strip_of(found: Attributed) -> Strip:
    """The strip of an attribution: colours are relative to its largest value."""
    most = max((abs(value) for row in found.values for value in row), default=0.0)
    most_total = max(map(abs, found.total), default=0.0)
    rows = tuple(
        (
            n,
            _cell(found.kind, found.total[n], most_total),
            tuple(_cell(found.kind, values[n], most) for values in found.values),
        )
        for n in range(found.wordings)
    )
    tokens = tuple(visible(token) for token in found.tokens)
    return Strip(f"{found.kind} of {found.method}", WHAT.get(found.kind, ""), tokens, rows)


def attribution_strip(found: Attributed, width: int) -> RenderableType:
    """An attribution for a terminal of so many columns; a long answer in several pieces."""
    strip = strip_of(found)
    title = Text(f"\nAttribution: {strip.title}", style="bold")
    title.append(f"; {strip.what}" if strip.what else "", style="not bold")
    at_once = max(1, (width - NAMES) // CELL)
    pieces = [
        _piece(strip, slice(start, start + at_once))
        for start in range(0, max(len(strip.tokens), 1), at_once)
    ]
    return Lines(title, *pieces)


def _piece(strip: Strip, part: slice) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("whole answer")
    for token in strip.tokens[part]:
        table.add_column(Text(token), justify="right", max_width=CELL - 1, overflow="fold")
    for n, total, cells in strip.rows:
        table.add_row(Text(wording_name(n)), _bar(total), *_colored(cells[part]))
    return table


def _colored(cells: Sequence[Cell]) -> Iterator[Text]:
    for text, strength in cells:
        red, green, blue = FOR if strength >= 0 else AGAINST
        # Towards black, on which white text can be read at every strength.
        level = abs(strength)
        color = Color.from_rgb(red * level, green * level, blue * level)
        yield Text(text, style=Style(color="white", bgcolor=color.name))


def _bar(cell: Cell) -> Text:
    cells = round(abs(cell.strength) * BAR_CELLS)
    text = Text("\u2588" * cells, style="cyan" if cell.strength >= 0 else "red")
    return text.append(" " * (BAR_CELLS - cells)).append(f" {cell.text}", style="none")


def _cell(kind: str, value: float, most: float) -> Cell:
    text = f"{value:.3f}" if kind in SHARES else f"{value:+.2f}"
    return Cell(text, value / most if most else 0.0)

"""Attributions as strips, in a terminal and on a page."""

import io
import re
from dataclasses import dataclass, replace

from rich.console import Console

from self_ensemble.report.attribution_strip import Cell, _colored, attribution_strip, strip_of
from self_ensemble.report.trace_page import trace_page
from tests.report.traces import HOSTILE, small_trace

BLOCK = "\u2588"


@dataclass(frozen=True)
class Attributed:
    kind: str = "shapley"
    method: str = "avg"
    tokens: tuple[str, ...] = (" yes", "\n")
    wordings: int = 2
    values: tuple[tuple[float, ...], ...] = ((0.5, -0.25), (0.0, 0.125))
    total: tuple[float, ...] = (0.5, -0.125)


def drawn(found: Attributed, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(attribution_strip(found, width))
    return console.file.getvalue()


def test_a_strip_is_drawn_as_it_was() -> None:
    lines = [line.rstrip() for line in drawn(Attributed()).splitlines()]
    assert lines == [
        "",
        "Attribution: shapley of avg; Shapley values of each token's log-probability, nats",
        "           whole answer       \u2423yes      \u21b5",
        "\u2500" * 41,
        f"wording 1  {10 * BLOCK} +0.50  +0.50  +0.00",
        f"wording 2  {2 * BLOCK}         -0.12  -0.25  +0.12",
    ]


def test_colours_are_relative_to_the_largest_and_keep_their_sign() -> None:
    rows = strip_of(Attributed()).rows
    assert [cell.strength for cell in rows[0][2]] == [1.0, 0.0]
    assert [cell.strength for cell in rows[1][2]] == [-0.5, 0.25]
    assert [row[1].strength for row in rows] == [1.0, -0.25]


def test_a_terminal_is_red_where_a_wording_spoke_against_the_token() -> None:
    cells = (Cell("+0.50", 1.0), Cell("-0.25", -0.5))
    found = [text.style.bgcolor.get_truecolor() for text in _colored(cells)]
    assert [max(color) for color in found] == [found[0].blue, found[1].red]
    assert sum(found[0]) > sum(found[1])  # the weaker one is darker


def test_nothing_attributed_has_no_colour() -> None:
    nothing = Attributed(values=((0.0, 0.0),) * 2, total=(0.0, 0.0))
    assert {cell.strength for _, _, cells in strip_of(nothing).rows for cell in cells} == {0.0}


def test_a_long_answer_is_drawn_in_pieces() -> None:
    long = Attributed(tokens=(" word",) * 30, values=((0.5, -0.25),) * 30)
    found = drawn(long, 80)
    assert found.count("whole answer") > 1
    assert found.count("\u2423word") == 30
    assert max(map(len, found.splitlines())) <= 80


def test_shares_have_no_sign() -> None:
    assert strip_of(Attributed(kind="mass")).rows[0][1].text == "0.500"


def test_a_page_has_a_strip_for_each() -> None:
    found = (Attributed(), Attributed(kind="mass", method=HOSTILE, tokens=(HOSTILE, "\x00")))
    page = trace_page(replace(small_trace(), attributions=found))
    assert page.count('<section class="strip">') == 2
    assert len(re.findall(r'class="number cell', page)) == 8
    assert page.count("<script") == 2
    assert "\x00" not in page


def test_a_page_without_attribution_has_no_strip() -> None:
    assert 'class="strip"' not in trace_page(small_trace())

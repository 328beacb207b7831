"""A trace in a terminal, against a page of text, and where texts are hostile."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from self_ensemble.report.trace_texts import token_text, visible
from self_ensemble.report.trace_view import bar, pages, trace_view
from self_ensemble.tracing.trace import Distribution, Token, Trace, TracedAnswer
from tests.report.traces import HOSTILE, small_trace, tokens


def drawn(trace: Trace, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(trace_view(trace, width))
    lines = console.file.getvalue().splitlines()
    return "".join(line.rstrip() + "\n" for line in lines)


def test_a_trace_is_drawn_as_it_was() -> None:
    golden = Path(__file__).with_name("trace_view.txt")
    assert drawn(small_trace()) == golden.read_text("utf-8")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width) -> None:
    assert max(map(len, drawn(small_trace(), width).splitlines())) <= width


def test_runners_up_are_shown_where_there_is_room() -> None:
    assert "0.250 \u2423no" in drawn(small_trace(), 120)
    assert "0.250 \u2423no" not in drawn(small_trace(), 80)


def test_a_narrow_terminal_has_names_whole() -> None:
    names = [line.split(" ")[0] for line in drawn(small_trace(), 50).splitlines()]
    assert "\u2026" not in "".join(names)


def test_the_pieces_are_question_steps_and_answers() -> None:
    assert len(pages(small_trace(), 80)) == 5


def test_a_long_part_says_how_much_is_left_out() -> None:
    assert "\u2026 20 more \u2026" in drawn(small_trace())


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    text = "\x00\x1b[31mred\u202e\r\ud800[bold]"
    trace = replace(
        small_trace(), key=text, wordings=(text, HOSTILE), accepted=(text,), model=text,
        alone=(replace(small_trace().alone[0], text=text),),
    )  # fmt: skip
    found = drawn(trace)
    assert not set("\x00\x1b\u202e\r\ud800") & set(found)
    assert "[bold]" in found


def test_an_answer_that_is_none_says_why() -> None:
    trace = small_trace()
    failed = TracedAnswer("avg", None, "", (), "error", "Token 1 has no finite score.", None)
    found = drawn(replace(trace, methods=(failed,), steps=(), note="Nothing is finite."))
    assert "Token 1 has no finite score." in found
    assert "Nothing is finite." in found
    assert "Step 1" not in found


def test_a_distribution_that_is_not_finite_is_named() -> None:
    trace = small_trace()
    broken = Distribution((), float("nan"), float("nan"))
    method = replace(trace.steps[0].methods[0], distribution=broken)
    step = replace(trace.steps[0], methods=(method,))
    assert "not finite" in drawn(replace(trace, steps=(step,)))


def test_what_cannot_be_seen_in_a_token_is_shown() -> None:
    found = [token_text(Token(7, text)) for text in (" a", "a ", " ", "\n", "\t", "\x00", "")]
    assert found == ["\u2423a", "a\u2423", "\u2423", "\u21b5", "\u21e5", "\u2400", "#7"]
    assert token_text(*tokens("<end>")) == "\u00ab<end>\u00bb"
    assert visible("a b\nc") == "a b\u21b5c"


def test_a_bar_is_as_long_as_its_probability() -> None:
    assert [bar(one) for one in (0.0, 0.5, 1.0)] == [" " * 8, "\u2588" * 4 + " " * 4, "\u2588" * 8]
    assert bar(1 / 64) == "\u258f" + " " * 7


def test_a_long_question_is_cut_in_the_title() -> None:
    long = replace(small_trace(), wordings=("first " + "word " * 500 + "last?", "two?"))
    title = drawn(long).splitlines()[0]
    assert len(title) <= 103
    assert title.startswith("first word")
    assert title.endswith("word last?")

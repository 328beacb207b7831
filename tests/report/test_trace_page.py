"""The page of a trace: what it holds, and what happens in a browser when it is used."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from self_ensemble.report.page.page import MAX_BYTES
from self_ensemble.report.trace_page import notebook_frame, trace_page
from self_ensemble.tracing.trace import Candidate, Part, Step, Token, Trace
from tests.report.traces import HOSTILE, small_trace


def written(tmp_path: Path, trace: Trace) -> Path:
    path = tmp_path / "trace.html"
    path.write_text(trace_page(trace), "utf-8")
    return path


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def hostile_trace() -> Trace:
    """Text of a page's own kind wherever a text can stand."""
    trace, token = small_trace(), Token(99, HOSTILE)
    likely = Candidate(token, -0.5)

    def step(one: Step) -> Step:
        said = replace(one.wordings[0].distribution, top=(likely,))
        return replace(
            one,
            text=HOSTILE,
            answer=(token,),
            wordings=tuple(replace(w, distribution=said, ahead=(token,)) for w in one.wordings),
            methods=tuple(replace(m, distribution=said, why=HOSTILE) for m in one.methods),
            taken=tuple(replace(t, token=likely, why=HOSTILE) for t in one.taken),
        )

    answers = tuple(replace(one, text=HOSTILE, tokens=(likely, likely)) for one in trace.methods)
    return replace(
        trace, key=HOSTILE, model=HOSTILE, wordings=(HOSTILE, HOSTILE), accepted=(HOSTILE,),
        parts=(Part("prefix", None, (token,) * 3),), steps=tuple(map(step, trace.steps)),
        methods=answers, note=HOSTILE,
    )  # fmt: skip


def test_the_page_holds_every_step_token_and_answer() -> None:
    trace = small_trace()
    page = trace_page(trace)
    data = data_of(page)
    assert [path["names"] for path in data["paths"]] == [["flex_attention"], ["min_entropy"]]
    texts = [text for _, text, _ in data["tokens"]]
    steps = [data["steps"][number] for number in data["paths"][1]["steps"]]
    assert [step["behind"] for step in steps] == ["(nothing)", "\u2423no"]
    first = steps[0]["rows"][1]
    assert [(texts[place], prob) for place, prob in first["top"]] == [
        ("\u2423no", 0.5), ("\u2423yes", 0.25),
    ]  # fmt: skip
    assert [texts[place] for place in first["ahead"]] == ["\u2423no", "\u21b5"]
    assert steps[0]["agree"] is False
    methods = [row["name"] for row in steps[0]["rows"] if row.get("is_method")]
    assert methods == ["flex_attention", "min_entropy"]
    assert [len(part["tokens"]) for part in data["parts"]] == [80, 3, 3, 3]
    for text in ("one?", "two?", "right", "wrong", "fused tail", "row-1"):
        assert text in page


def test_methods_that_answer_alike_are_one_line() -> None:
    trace = small_trace()
    twin = replace(trace.methods[0], method="avg")
    data = data_of(trace_page(replace(trace, methods=(*trace.methods, twin))))
    assert [path["names"] for path in data["paths"]] == [
        ["flex_attention", "avg"],
        ["min_entropy"],
    ]


def test_a_hostile_text_is_data_wherever_it_stands() -> None:
    page = trace_page(hostile_trace())
    assert page.count("<script") == 2
    assert "<img" not in page


def test_a_page_that_would_be_too_large_shows_fewer_tokens_and_says_so() -> None:
    trace = small_trace()
    step = trace.steps[0]
    row = step.wordings[0]
    top = tuple(Candidate(Token(n, f" word{n:06}"), -float(n)) for n in range(60))
    wide = replace(row, distribution=replace(row.distribution, top=top))
    many = replace(trace, steps=(replace(step, wordings=(wide,) * 500),) * 8)
    page = trace_page(many)
    assert len(page.encode()) <= MAX_BYTES
    shown = max(len(one["top"]) for one in data_of(page)["steps"][0]["rows"])
    assert 0 < shown < 60
    assert f"the {shown} likeliest tokens are shown" in page
    least = replace(row, distribution=replace(row.distribution, top=top[:1]))
    rows = replace(step, wordings=(least,) * 500)
    with pytest.raises(UserError, match="a page has 2 at most"):
        trace_page(replace(trace, steps=(rows,) * 60))


def test_a_trace_without_steps_has_a_page_without_a_time_line() -> None:
    trace = small_trace()
    answers = tuple(replace(one, steps=()) for one in trace.methods)
    page = trace_page(replace(trace, steps=(), methods=answers, note="Nothing is finite."))
    assert "Nothing is finite." in page
    assert 'id="lines"' not in page


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    frame = small_trace()._repr_html_()
    assert frame == notebook_frame(small_trace())
    assert frame.startswith('<iframe sandbox="allow-scripts" srcdoc="')
    inner = html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1])
    assert inner == trace_page(small_trace())


SHOWN = """return {
  heading: document.querySelector("#step h3").textContent,
  agreement: document.querySelector("#agreement").textContent,
  rows: [...document.querySelectorAll(".said tbody tr td:first-child")].map(e => e.textContent),
  current: [...document.querySelectorAll("#lines [aria-current]")].map(e => e.textContent),
  same: [...document.querySelectorAll("#lines .same")].map(e => e.textContent),
}"""
CLICK = "document.querySelectorAll(arguments[0])[arguments[1]].click()"
PRESS = "document.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))"


def test_the_time_line_is_clicked_through(browser, tmp_path) -> None:
    browser.open(written(tmp_path, small_trace()))
    shown = browser.run(SHOWN)
    assert shown["heading"] == "Step 1 of 2, behind (nothing)"
    assert shown["agreement"] == "Wordings disagree: \u2423yes by wording 1; \u2423no by wording 2"
    assert shown["rows"] == ["wording 1", "wording 2", "flex_attention", "min_entropy"]
    # Both answers begin here, so the other's token is marked, too.
    assert (shown["current"], shown["same"]) == (["\u2423yes"], ["\u2423no"])
    browser.run(CLICK, "#lines button", 3)
    shown = browser.run(SHOWN)
    assert shown["heading"] == "Step 2 of 2, behind \u2423no"
    assert shown["current"] == ["\u21b5"]
    browser.run(PRESS, "ArrowLeft")
    assert browser.run(SHOWN)["current"] == ["\u2423no"]
    browser.run(CLICK, "#on", 0)
    assert browser.run(SHOWN)["heading"] == "Step 2 of 2, behind \u2423no"
    assert browser.run("return document.querySelector('#on').disabled") is True
    browser.run(PRESS, "ArrowRight")
    assert browser.run(SHOWN)["heading"] == "Step 2 of 2, behind \u2423no"
    assert browser.errors() == []
    assert [address for address in browser.fetched() if not address.startswith("file:")] == []


def test_buttons_and_keys_go_on_by_one_token(browser, tmp_path) -> None:
    trace = small_trace()
    first, last = trace.methods[0].tokens
    longer = replace(trace.methods[0], tokens=(first, last, last), steps=(0, 1, 2))
    page = written(tmp_path, replace(trace, methods=(longer,)))
    for forward, back in (
        ((CLICK, "#on", 0), (CLICK, "#back", 0)),
        ((PRESS, "ArrowRight"), (PRESS, "ArrowLeft")),
    ):
        browser.open(page)
        headings = []
        for move in (forward, forward, forward, back):
            browser.run(*move)
            headings.append(browser.run(SHOWN)["heading"][:11])
        assert headings == ["Step 2 of 3", "Step 3 of 3", "Step 3 of 3", "Step 2 of 3"]


def test_the_button_that_was_pressed_keeps_the_focus(browser, tmp_path) -> None:
    trace = small_trace()
    first, last = trace.methods[0].tokens
    longer = replace(trace.methods[0], tokens=(first, last, last), steps=(0, 1, 2))
    browser.open(written(tmp_path, replace(trace, methods=(longer,))))
    focused = "return document.activeElement.id || document.activeElement.textContent"
    browser.run("document.querySelector('#on').focus()")
    browser.run(CLICK, "#on", 0)
    assert browser.run(focused) == "on"
    browser.run(CLICK, "#on", 0)
    assert browser.run(focused) == "\u21b5"  # there is no further step: the token itself
    browser.run("document.querySelector('#ids').focus()")
    browser.run(PRESS, "ArrowRight")
    assert browser.run(focused) == "ids"


def test_prompts_open_as_tokens_with_their_ids(browser, tmp_path) -> None:
    browser.open(written(tmp_path, small_trace()))
    browser.run("for (const one of document.querySelectorAll('#parts details')) one.open = true")
    tokens = (
        "return [...document.querySelectorAll('#parts details:last-child .token')]"
        ".map(e => e.textContent)"
    )
    browser.run("return new Promise(done => setTimeout(done, 50))")
    assert browser.run(tokens) == ["\u21b5", "A:", "\u00ab<end>\u00bb"]
    browser.run(CLICK, "#ids", 0)
    assert browser.run(tokens) == ["\u21b57", "A:4", "\u00ab<end>\u00bb8"]


def test_no_script_of_a_question_runs(browser, tmp_path) -> None:
    browser.open(written(tmp_path, hostile_trace()))
    browser.run("for (const one of document.querySelectorAll('#parts details')) one.open = true")
    browser.run(CLICK, "#lines button", 1)
    browser.run("return new Promise(done => setTimeout(done, 50))")
    assert browser.run("return document.title") != "ran"
    assert browser.run("return document.querySelectorAll('img, #step script').length") == 0
    assert "</script>" in browser.run("return document.querySelector('#step').textContent")


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_itself_never_scrolls_sideways(browser, tmp_path, width, dark) -> None:
    for trace in (small_trace(), hostile_trace()):
        browser.open(written(tmp_path, trace), width=width, dark=dark)
        assert browser.run("return document.documentElement.scrollWidth") <= width

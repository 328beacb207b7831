"""The playground in Chromium: type, ask, switch methods, read the answers, save, open, stop."""

import json
import time

import pytest

pytest.importorskip("gradio", reason="needs the extra playground")

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.ensemble import Ensemble
from self_ensemble.integrations.playground import add_playground
from self_ensemble.playground import board as boards
from self_ensemble.report.page.page import shown

pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.PandasDeprecationWarning")

TYPE = """
const input = document.querySelector(`${arguments[0]} textarea, ${arguments[0]} input`);
input.focus(); input.select();
document.execCommand("insertText", false, arguments[1]);
"""
METHOD = """
const labels = [...document.querySelectorAll("#se-methods label")];
labels.find((one) => one.textContent.trim() === arguments[0]).querySelector("input").click();
"""
TAB = """
[...document.querySelectorAll("button[role=tab]")].find((one) => one.textContent.trim() ===
  arguments[0]).click();
"""
FUSED = "return [...document.querySelectorAll('.se-fused')].map((one) => one.dataset.method)"
TEXTS = "return [...document.querySelectorAll('.se-answer')].map((one) => one.textContent)"
ENDED = (
    "return document.querySelectorAll('.se-fused').length && !document.querySelector('.se-open')"
)
# What would be saved, without a file.
SAVED = """
const real = URL.createObjectURL;
URL.createObjectURL = (blob) => {
  blob.text().then((text) => window.saved = text);
  return real(blob);
};
document.querySelector("#se-save").click();
"""


@pytest.fixture(scope="module")
def page(tiny_loaded, start_once):
    ensemble = Ensemble(tiny_loaded, resolve_methods(["all"], has_weights=True))
    with start_once(ensemble, mount=add_playground) as found:
        yield found


def wait(browser, script, seconds=30.0):
    end = time.monotonic() + seconds
    while not (found := browser.run(script)):
        assert time.monotonic() < end, (script, browser.errors())
        time.sleep(0.05)
    return found


def opened(browser, page, **options):
    browser.fetched()
    browser.open(f"{page.url}/playground/", **options)
    wait(browser, "return !!document.querySelector('#se-ask') && !!window.gradio_config")


def press(browser, name):
    browser.run("document.querySelector(arguments[0]).click()", f"#se-{name}")


def asked(browser, page, methods=("avg",)):
    """Ask with these methods, of which the first three are chosen when the page is opened."""
    for one in {"flex_attention", "avg", "vote"} ^ set(methods):
        browser.run(METHOD, one)
    browser.run(TYPE, "#se-question", "Who wrote the play?")
    browser.run(TYPE, "#se-wordings", "The play's author is who?\n<i>By</i> whom is the play?")
    press(browser, "ask")
    wait(browser, ENDED)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_a_question_is_typed_asked_and_read(browser, page, width, dark):
    opened(browser, page, width=width, dark=dark)
    asked(browser, page, ["avg", "vote"])
    assert browser.run(FUSED) == ["avg", "vote"]
    texts = browser.run(TEXTS)
    assert len(texts) == 5
    assert all(texts)
    # Another method, of the same question.
    browser.run(METHOD, "avg")
    browser.run(METHOD, "max")
    press(browser, "ask")
    wait(browser, "return document.querySelector('[data-method=max]')")
    wait(browser, ENDED)
    assert browser.run(FUSED) == ["max", "vote"]
    assert browser.run(TEXTS)[1:] == texts[1:]
    wait(browser, "return document.querySelector('#se-strips table')")
    # The page never scrolls sideways, whatever is opened.
    for tab in ("Mask", "Python", "curl", "Attribution"):
        browser.run(TAB, tab)
        time.sleep(0.2)
        assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return getComputedStyle(document.body).colorScheme !== ''")
    assert browser.errors() == []
    hosts = {one.split("/")[2] for one in browser.fetched() if one.startswith("http")}
    assert hosts == {page.url.removeprefix("http://")}


def test_markup_in_a_wording_is_text(browser, page):
    opened(browser, page)
    asked(browser, page)
    assert browser.run("return document.querySelector('#se-answers i:not(.swatch)')") is None
    assert "<i>By</i> whom" in browser.run(
        "return document.querySelector('#se-answers').textContent"
    )


def test_what_is_saved_is_opened_again(browser, page, tmp_path):
    opened(browser, page)
    asked(browser, page, ["avg"])
    wait(browser, "return document.querySelector('#se-strips table')")
    texts = browser.run(TEXTS)
    browser.run(SAVED)
    text = wait(browser, "return window.saved")
    board = boards.read(text)
    assert board.asked.methods == ["avg"]
    said = [board.fused["avg"], *board.members]
    assert [shown(one.text.strip()) or "(no text)" for one in said] == texts

    file = tmp_path / "playground.json"
    file.write_text(text)
    opened(browser, page)
    choose(browser, file)
    wait(browser, ENDED)
    assert browser.run(TEXTS) == texts
    question = "return document.querySelector('#se-question textarea, #se-question input').value"
    assert browser.run(question) == "Who wrote the play?"
    assert "answered by tiny" in browser.run(
        "return document.querySelector('#se-said').textContent"
    )


def test_a_file_that_is_none_is_refused_in_a_line(browser, page, tmp_path):
    opened(browser, page)
    for text, said in (
        ("{", "no JSON"),
        ("x" * (boards.MAX_FILE + 10), "larger than 512 KiB"),
        (json.dumps({"format": boards.FORMAT, "<b>x</b>": 1}), "model: Field required"),
    ):
        file = tmp_path / "some.json"
        file.write_text(text)
        choose(browser, file)
        wait(browser, f"return document.querySelector('#se-said').textContent.includes('{said}')")
    assert browser.run("return document.querySelector('#se-said b')") is None


def test_nothing_to_ask_is_said(browser, page):
    opened(browser, page)
    press(browser, "ask")
    wait(browser, "return document.querySelector('#se-said [role=alert]')")


def test_stop_gives_a_question_up(browser, page):
    opened(browser, page)
    browser.run(TYPE, "#se-question", "Who wrote the play?")
    browser.run(
        "const e = document.querySelector('input[type=number][aria-label*=Longest]');"
        "e.value = 256; e.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    browser.run("[...document.querySelectorAll('#se-style input')].at(-1).click()")
    press(browser, "ask")
    wait(browser, "return document.querySelector('.se-open')")
    press(browser, "stop")
    page.wait_until(lambda: page.service.scheduler.num_live == 0)


def choose(browser, file):
    """Choose a file where the page asks for one."""
    press(browser, "open")
    wait(browser, "return document.querySelector('#se-file')")
    root = browser.devtools("DOM.getDocument")["root"]["nodeId"]
    node = browser.devtools("DOM.querySelector", nodeId=root, selector="#se-file")["nodeId"]
    browser.devtools("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

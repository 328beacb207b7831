"""A report in a browser: sorted, searched, opened and printed, by pointer and keys, and by axe."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from self_ensemble import results
from self_ensemble.report.results_page.whole import report_page
from tests.browser import Browser
from tests.report.report_folders import city_folder, page_of

SIZES = [(1280, False), (1280, True), (400, False), (400, True)]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    path.write_text(page_of(city_folder(folder / "cities" / "tiny")), "utf-8")
    return path


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory) -> Path:
    """Two folders, one of them with texts as they should not be."""
    folder = tmp_path_factory.mktemp("report")
    text = "\u05de\u05d9 \u05db\u05ea\u05d1 <img src=x onerror=document.title='ran'> " + "x" * 500

    def hostile(row):
        return dict(row) | {"prediction": text, "answers": [text], "paraphrases": [text] * 3,
                            **({"paraphrase": text} if "paraphrase" in row else {})}  # fmt: skip

    places = [city_folder(folder / "cities" / "tiny"),
              city_folder(folder / ("x" * 60) / ("y" * 90), hostile)]  # fmt: skip
    path = folder / "report.html"
    path.write_text(report_page([results.load(place) for place in places]), "utf-8")
    return path


def column(browser: Browser, number: int) -> list[str]:
    """The sorted values of a column of the table of scores."""
    return browser.run(
        "return [...document.querySelector('#f0-scores tbody').rows]"
        f".map((row) => row.cells[{number}].dataset.sort)"
    )


def key(browser: Browser, name: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        browser.devtools(
            "Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code,
            **({"text": text} if text and kind == "keyDown" else {}),
        )  # fmt: skip


def shown(browser: Browser) -> list[str]:
    return browser.run(
        "return [...document.querySelectorAll('.example')].filter((one) => one.checkVisibility())"
        ".map((one) => one.dataset.kinds)"
    )


def test_nothing_is_fetched_and_nothing_goes_wrong(browser, page):
    browser.fetched()
    browser.open(page)
    asked = browser.fetched()
    assert [one for one in asked if not one.startswith(("file://", "data:", "about:"))] == []
    assert [one for one in asked if one.startswith("file://")] == [page.resolve().as_uri()]
    assert browser.errors() == []


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_the_page_never_scrolls_sideways(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    # Figures are inside the page as well, and none has letters that are too small to be read.
    sizes = browser.run(
        "return [...document.querySelectorAll('svg[role=img] text')]"
        ".map((text) => text.getBoundingClientRect().height)"
    )
    assert min(sizes) > 8


def test_hostile_texts_stay_texts_and_inside_the_page(browser, hostile_page):
    browser.open(hostile_page, width=400)
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    assert browser.run("return document.title") == "Report of 2 data sets and models"
    assert browser.run("return document.images.length") == 0
    assert browser.errors() == []


@pytest.mark.parametrize("dark", [False, True])
def test_figures_have_the_colours_of_the_page(browser, page, dark):
    browser.open(page, dark=dark)
    ink, paper = browser.run(
        "const style = getComputedStyle(document.body);"
        "const text = document.querySelector('#f0-differences svg text');"
        "return [getComputedStyle(text).fill, style.backgroundColor]"
    )
    light = [sum(map(int, one[one.index("(") + 1 : -1].split(","))) for one in (ink, paper)]
    assert (light[0] > light[1]) == dark
    assert abs(light[0] - light[1]) > 250


def test_a_column_is_sorted_by_a_press_and_back_by_another(browser, page):
    browser.open(page)
    before = column(browser, 1)
    browser.run("document.querySelectorAll('#f0-scores th button')[1].click()")
    down = [float(one) for one in column(browser, 1)]
    assert down == sorted(map(float, before), reverse=True) != [float(one) for one in before]
    browser.run("document.querySelectorAll('#f0-scores th button')[1].click()")
    assert [float(one) for one in column(browser, 1)] == down[::-1]
    marks = browser.run(
        "return [...document.querySelectorAll('#f0-scores thead th')]"
        ".map((one) => one.getAttribute('aria-sort'))"
    )
    assert marks[1] == "ascending"
    assert set(marks[:1] + marks[2:]) == {"none"}
    # What is not known stays below, whichever way: origin has no difference to itself.
    for _ in range(2):
        browser.run("document.querySelectorAll('#f0-scores th button')[4].click()")
        assert column(browser, 4)[-1] == ""


def test_tables_rows_and_examples_are_used_by_keys_alone(browser, page):
    browser.open(page)
    browser.run("document.querySelectorAll('#f0-scores th button')[0].focus()")
    key(browser, "Enter", 13, "\r")
    assert column(browser, 0) == sorted(column(browser, 0))
    browser.run("document.querySelector('#f0-scores tbody summary').focus()")
    key(browser, "Enter", 13, "\r")
    assert browser.run("return document.querySelector('#f0-scores tbody details').open")
    browser.run("document.querySelector('.controls [data-kind=gained]').focus()")
    key(browser, " ", 32, " ")
    assert shown(browser)
    assert all("gained" in kinds.split() for kinds in shown(browser))
    key(browser, "Tab", 9)
    assert browser.run("return document.activeElement.dataset.kind") == "lost"


def test_examples_are_searched_and_filtered(browser, page):
    browser.open(page)
    everything = shown(browser)
    assert len(everything) == 20
    assert browser.run("return document.querySelector('.count').textContent") == "20 of 20 shown"
    for kind in ("gained", "lost", "disagree"):
        browser.run(f"document.querySelector('.controls [data-kind={kind}]').click()")
        assert shown(browser) == [kinds for kinds in everything if kind in kinds.split()]
    browser.run("document.querySelector(\".controls [data-kind='']\").click()")
    browser.run("document.querySelector('.controls input').focus()")
    browser.devtools("Input.insertText", text="CITY 2?")
    (uuid,) = browser.run(
        "return [...document.querySelectorAll('.example')].filter((one) => one.checkVisibility())"
        ".map((one) => one.querySelector('bdi').textContent)"
    )
    assert uuid
    assert browser.run("return document.querySelector('.count').textContent") == "1 of 20 shown"
    browser.run("document.querySelector('.open-all').click()")
    assert browser.run(
        "return [...document.querySelectorAll('.example')].every((one) => one.open)"
    )


def test_without_its_script_the_page_is_a_plain_document(browser, page):
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
        assert not browser.run("return document.querySelector('.controls').checkVisibility()")
        assert len(shown(browser)) == 20
        assert browser.run("return document.querySelectorAll('thead button').length") == 0
        assert browser.run("return document.querySelector('#f0-scores tbody').rows.length") == 4
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)


def test_paper_has_every_answer_and_no_controls(browser, page):
    browser.open(page)
    browser.devtools("Emulation.setEmulatedMedia", media="print")
    try:
        browser.run("dispatchEvent(new Event('beforeprint'))")
        closed = browser.run("return document.querySelectorAll('.example:not([open])').length")
        assert closed == 0
        assert not browser.run("return document.querySelector('.controls').checkVisibility()")
        assert browser.run("return document.querySelector('.folded table').checkVisibility()")
        printed = b64decode(browser.devtools("Page.printToPDF", printBackground=True)["data"])
        assert printed.startswith(b"%PDF")
        browser.run("dispatchEvent(new Event('afterprint'))")
        assert browser.run("return document.querySelectorAll('.example[open]').length") == 0
    finally:
        browser.devtools("Emulation.setEmulatedMedia", media="")


# In inches; a heading stays with a figure where both fit on a page.
@pytest.mark.parametrize("height", [7.0, 7.5, 8.5])
def test_on_paper_heads_stay_with_what_follows_and_come_again(browser, page, tmp_path, height):
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext")
    browser.open(page)
    heads = browser.run(
        "return [...document.querySelectorAll('h2, caption, thead tr')].map((o) => o.textContent)"
    )
    heads = {"".join(head.split()) for head in heads}
    found = browser.devtools("Page.printToPDF", paperWidth=8.3, paperHeight=height)["data"]
    (tmp_path / "page.pdf").write_bytes(b64decode(found))
    text = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "page.pdf", "-"], check=True, capture_output=True
    ).stdout.decode()
    pages = [["".join(line.split()) for line in one.splitlines() if line.strip()]
             for one in text.split("\f")]  # fmt: skip
    assert [one[-1] for one in pages if one and one[-1] in heads] == []
    again = "confidenceoffromtoanswersmeanconfidenceaccuracy"
    assert again in heads
    # Where a table begins, its caption is before its head.
    assert any(one[0] == again for one in pages if one)


def axe() -> str:
    """The checker's script: `make axe` puts it beside the environment's packages."""
    place = os.environ.get(
        "SELF_ENSEMBLE_AXE", f"{sys.prefix}/axe/node_modules/axe-core/axe.min.js"
    )
    if not Path(place).is_file():
        pytest.skip("needs axe-core: make axe, or SELF_ENSEMBLE_AXE=.../axe.min.js")
    return Path(place).read_text("utf-8")


@pytest.mark.parametrize(("width", "dark"), SIZES)
@pytest.mark.parametrize("name", ["page", "hostile_page"])
def test_axe_finds_no_serious_fault(browser, request, name, width, dark):
    script = axe()
    browser.open(request.getfixturevalue(name), width=width, dark=dark)
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    browser.devtools("Runtime.evaluate", expression=script)
    found = browser.devtools(
        "Runtime.evaluate",
        expression="axe.run(document).then((found) => JSON.stringify([found.passes.length,"
        "found.violations.map((one) => [one.impact, one.id, one.nodes[0].html])]))",
        awaitPromise=True,
    )
    num_passed, violations = json.loads(found["result"]["value"])
    assert num_passed > 20
    assert [one for one in violations if one[0] in ("serious", "critical")] == []

"""`self-ensemble mask --png --html --blocks` as a user runs it, and the page in a browser."""

import json
import re
import shutil

import pytest
from PIL import Image

from self_ensemble.cli.masks.drawing import Drawing
from self_ensemble.errors import UserError
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.packed_sequence import bias_at, packed_sequence
from self_ensemble.report.page.page import MAX_BYTES, external
from tests.cli.test_mask import WORDINGS, run

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "NUL \x00, escape \x1b[31m and \u202eright to left",
    "\u05de\u05d9 \u05db\u05ea\u05d1? \u0645\u0646 \u0643\u062a\u0628\u061f",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 {{ 7 * 7 }} ${x} &amp; 'a' \"b\"",
)
LONG = ",".join(["118"] * 20)


def texts(wordings):
    return [argument for wording in wordings for argument in ("--text", wording)]


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_pictures_leave_the_text_as_it_is(tiny_folder, tmp_path):
    plain = run("--model", tiny_folder, *WORDINGS)
    png, html = tmp_path / "mask.png", tmp_path / "mask.html"
    both = run("--model", tiny_folder, *WORDINGS, "--png", png, "--html", html)
    assert both.replace(f"\nWrote {png}\n", "").replace(f"\nWrote {html}\n", "") == plain
    with Image.open(png) as image:
        image.verify()
        assert min(image.size) > 500


def test_the_page_holds_the_mask_and_the_prompt(tiny_folder, tiny_tokenizer, tmp_path):
    path = tmp_path / "mask.html"
    run("--model", tiny_folder, *WORDINGS, "--html", path, "--generated", 1)
    page = path.read_text("utf-8")
    (mask,) = data_of(page)["masks"]
    assert [part["name"] for part in mask["parts"]] == ["segment 1", "segment 2", "cue",
                                                        "generated"]  # fmt: skip
    first, second, _, last = (part["end"] for part in mask["parts"])
    half = mask["weights"].index(0.5)
    one = mask["weights"].index(1.0)
    assert mask["rows"][0] == [1, one]
    assert mask["rows"][second - 1] == [first, 0, second, one]
    assert mask["rows"][last - 1] == [second, half, last, one]
    shown = "".join(re.findall(r"<span>(.*?)</span>", page, re.DOTALL)).replace("\u21b5\n", "\n")
    assert shown == "".join(f"Q: {text}\n" for text in WORDINGS[1::2]) + "A:"
    assert external(page) == []


def test_no_weights_are_read_for_a_picture(tiny_folder, tmp_path):
    folder = tmp_path / "without"
    shutil.copytree(tiny_folder, folder)
    (weights,) = folder.glob("*.safetensors")
    weights.unlink()
    run("--model", folder, *WORDINGS, "--html", tmp_path / "a.html", "--blocks")
    with pytest.raises(UserError, match="weights"):
        run("--model", folder, *WORDINGS, "--check")


def test_blocks_of_lengths_are_drawn_without_a_model():
    output = run("--lengths", "128,126", "--prefix", 128, "--blocks")
    assert "BlockMask of this question: 256 queries x 384 keys (128 of the prefix" in output
    assert "6 blocks of 128 x 128: 2 full, 3 partial, 1 empty; 17 % of the work is saved" in output


def test_the_engines_own_row_has_common_beginnings_once(tiny_folder):
    alike = ["--text", "Who wrote the play?", "--text", "Who wrote the book?"]
    output = run("--model", tiny_folder, *alike, "--blocks", "--prompt")
    assert output.count("BlockMask of this question") == 2
    assert "as the engine packs it, common beginnings once: 128 queries" in output
    # Each reads the other's earlier tokens there, so nothing is shared.
    contiguous = run("--model", tiny_folder, *alike, "--blocks", "--positions", "contiguous")
    assert contiguous.count("BlockMask of this question") == 1


def test_weights_of_ones_own_are_scaled_and_coloured(tiny_folder, tmp_path):
    path = tmp_path / "a.html"
    output = run("--model", tiny_folder, *WORDINGS, "--segment-weights", "3,1", "--html", path)
    assert [line.split()[-1] for line in output.splitlines() if line.startswith("segment")] == [
        "0.75", "0.25",
    ]  # fmt: skip
    assert data_of(path.read_text("utf-8"))["masks"][0]["weights"] == [0, 0.25, 0.75, 1]


def test_a_legend_has_a_few_of_many_weights_the_ends_among_them(tmp_path):
    path = tmp_path / "a.html"
    weights = ",".join(map(str, range(1, 21)))
    run("--lengths", ",".join(["1"] * 20), "--segment-weights", weights, "--html", path)
    levels = re.findall(r'data-weight="(.*?)"', path.read_text("utf-8"))
    assert len(levels) <= 8
    assert (float(levels[0]), float(levels[-1])) == (0, 1)


@pytest.mark.parametrize("given", ["3,-1", "0,0", "1,x2", "nan,1", "1,inf"])
def test_weights_that_are_none_are_refused(given):
    with pytest.raises(UserError, match=r"Got --segment-weights .*\. Give uniform, none, or a"):
        run("--lengths", "3,3", "--segment-weights", given)


def test_as_many_weights_as_wordings_are_needed():
    with pytest.raises(UserError, match="Got 2 --segment-weights for 3 wordings"):
        run("--lengths", "3,3,3", "--segment-weights", "1,2")


@pytest.mark.parametrize(("family", "num_full"), [("mistral", 0), ("gemma2", 1)])
def test_layers_with_a_window_have_blocks_of_their_own(
    tiny_model, tiny_tokenizer, tmp_path, family, num_full
):
    folder = tmp_path / "windowed"
    tiny_model(family, sliding_window=8).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    unlike = ["--text", "a play?", "--text", "the play"]
    output = run("--model", folder, *unlike, "--blocks", "--positions", "contiguous")
    assert "Layers with a sliding window also leave out what lies 8 positions back." in output
    assert output.count("BlockMask of this question, layers with a window of 8:") == 1
    assert output.count("BlockMask of this question:") == num_full


def test_four_thousand_tokens_are_a_page_below_its_limit(tmp_path):
    path = tmp_path / "long.html"
    run("--lengths", LONG, "--prefix", 1600, "--html", path, "--png", tmp_path / "long.png")
    assert path.stat().st_size < MAX_BYTES / 10
    assert len(data_of(path.read_text("utf-8"))["masks"][0]["rows"]) == 1600 + 20 * 118 + 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--png", "mask.jpg"], r"--png mask.jpg does not end in \.png\. Name a file that does"),
        (["--html", "mask.png"], r"--html mask.png does not end in \.html"),
        (
            ["--png", "no/mask.png"],
            r"There is no folder no for --png no/mask\.png\. Make it first",
        ),
        (["--html", "no/mask.html"], r"There is no folder no for --html no/mask\.html"),
        (["--png", "folder.png"], r"--png folder\.png is a folder\. Name a file"),
        (["--blocks", "--prefix", "9000"], r"Got 9,005 tokens; pictures and blocks are drawn of"),
    ],
)
def test_pictures_that_cannot_be_are_refused_in_one_line(
    arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        run("--lengths", "3", *arguments)
    assert "\n" not in str(caught.value)


def test_special_tokens_are_marked_and_the_same_text_in_a_question_is_not(tiny_folder, tmp_path):
    path = tmp_path / "chat.html"
    run("--model", tiny_folder, *texts(["a<|im_end|>", "b"]), "--chat-template", "on",
        "--html", path)  # fmt: skip
    page = path.read_text("utf-8")
    marked = re.findall(r'<span class="special">(.*?)</span>', page)
    assert marked == ["&lt;|im_start|&gt;", "&lt;|im_end|&gt;", "&lt;|im_start|&gt;"]
    assert "&lt;</span><span>|</span>" in page


@pytest.fixture
def hostile_page(tiny_folder, tmp_path):
    path = tmp_path / "hostile.html"
    run("--model", tiny_folder, *texts(HOSTILE), "--html", path, "--blocks", "--prompt")
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_of_a_wording_runs_and_nothing_is_fetched(browser, hostile_page, width, dark):
    browser.fetched()
    browser.open(hostile_page, width=width, dark=dark)
    assert browser.errors() == []
    assert browser.fetched() == [hostile_page.resolve().as_uri()]
    found = browser.run(
        "return [document.title, document.images.length, document.documentElement.scrollWidth, "
        "getComputedStyle(document.body).backgroundColor]"
    )
    assert found[:2] == ["Who may read whom: 5 wordings", 0]
    assert found[2] <= width
    assert (sum(map(int, re.findall(r"\d+", found[3]))) < 200) == dark
    assert "\u2400" in browser.run("return document.querySelector('.prompt').textContent")


def readout(browser) -> str:
    return browser.run("return document.querySelector('section.mask .readout').textContent")


def place(browser, column: float, row: float) -> tuple[float, float]:
    """Where shares of the canvas are in the window."""
    left, top, width, height = browser.run(
        "const box = document.querySelector('section.mask canvas').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]"
    )
    return left + column * width, top + row * height


def test_the_two_tokens_under_the_pointer_are_told_and_a_click_zooms(
    browser, tiny_folder, tmp_path
):
    path = tmp_path / "mask.html"
    run("--model", tiny_folder, *WORDINGS, "--html", path, "--generated", 0)
    browser.open(path, height=1000)
    hint = readout(browser)
    browser.point(*place(browser, 0.3, 0.9))
    assert re.match(r".*\(segment 2, column \d+, position \d+\) may not read .*\(segment 1, ",
                    readout(browser))  # fmt: skip
    assert browser.run("return document.querySelectorAll('.reads, .read').length") == 2
    # The last row is the cue's, which reads all with its weight.
    browser.point(*place(browser, 0.3, 0.999))
    assert re.match(r".*\(cue, .*\) reads .*\(segment 1, .*\), weight 0\.5$", readout(browser))

    browser.point(*place(browser, 0.9, 0.9), click=True)
    pressed = "return document.querySelector('[aria-pressed=true]').textContent"
    assert browser.run(pressed) == "segment 2"
    browser.point(*place(browser, 0.3, 0.9))
    assert re.match(r".*\(segment 2, .*\) reads .*\(segment 2, .*\), weight 1$", readout(browser))
    browser.point(*place(browser, 0.3, 0.9), click=True)
    assert browser.run(pressed) == "whole mask"
    browser.run("document.querySelectorAll('.parts button')[1].click()")
    assert browser.run(pressed) == "segment 1"
    browser.point(1, 1)
    assert readout(browser) == hint


def test_keys_go_over_the_map_and_zoom(browser, tiny_folder, tmp_path):
    path = tmp_path / "mask.html"
    run("--model", tiny_folder, *WORDINGS, "--html", path, "--generated", 0)
    browser.open(path, height=1000)
    press = (
        "for (const key of arguments) document.querySelector('canvas')"
        ".dispatchEvent(new KeyboardEvent('keydown', {key}))"
    )
    browser.run(press, "ArrowLeft")  # from the last token that reads, and the first that is read
    assert re.match(
        r".*\(cue, .*\) reads .*\(segment 1, column 0, .*weight 0\.5$", readout(browser)
    )
    browser.run(press, "ArrowUp", "ArrowUp", "ArrowUp", "ArrowRight")
    assert re.match(r".*\(segment 2, .*may not read .*\(segment 1, column 1,", readout(browser))
    browser.run(press, "Enter")
    pressed = "return document.querySelector('[aria-pressed=true]').textContent"
    assert browser.run(pressed) == "segment 2"
    browser.run(press, "Escape")
    assert browser.run(pressed) == "whole mask"
    assert browser.errors() == []


def test_what_is_drawn_is_dark_where_a_token_may_read(browser, tmp_path):
    path = tmp_path / "mask.html"
    run("--lengths", "30,30", "--prefix", 40, "--generated", 0, "--html", path)
    browser.open(path)
    pixel = (
        "const canvas = document.querySelector('canvas');"
        "const at = (share) => Math.round(share * canvas.width);"
        "return arguments[0].map(([x, y]) => [...canvas.getContext('2d')"
        ".getImageData(at(x), at(y), 1, 1).data].slice(0, 3))"
    )
    prefix, own, other = browser.run(pixel, [[0.3, 0.9], [0.85, 0.95], [0.6, 0.9]])
    assert prefix == own == [13, 59, 102]
    assert other == [240, 243, 246]


def test_the_page_looks_every_entry_up_as_the_engine_does(browser, tmp_path):
    path = tmp_path / "mask.html"
    lengths = ["--lengths", "3,1,4", "--prefix", 2, "--segment-weights", "2,1,1"]
    run(*lengths, "--generated", 2, "--html", path)
    browser.open(path)
    found = browser.run(
        "const one = drawn[0], all = [...Array(one.size).keys()];"
        "return all.map((row) => all.map((column) => one.weight(row, column)))"
    )
    layout = Drawing(2, "aligned", "cue", (2.0, 1.0, 1.0)).layout(
        PromptParts((0, 0), ((0,) * 3, (0,), (0,) * 4), (0, 0))
    )
    sequence = packed_sequence(layout, 2, 2)
    columns = range(sequence.num_columns)
    assert found == pytest.approx(bias_at(sequence, columns, columns).exp().numpy(), abs=1e-6)


def test_blocks_are_told_under_the_pointer(browser, tmp_path):
    path = tmp_path / "mask.html"
    run("--lengths", "128,126", "--prefix", 128, "--html", path, "--blocks")
    browser.open(path, height=2000)
    left, top = browser.run(
        "const box = document.querySelector('section.blocks canvas').getBoundingClientRect();"
        "return [box.left, box.top]"
    )
    told = "return document.querySelector('section.blocks .readout').textContent"
    browser.point(left + 5, top + 5)
    assert browser.run(told) == "Queries 0 to 127, keys 0 to 127: full"
    browser.point(left + 170, top + 5)
    assert browser.run(told) == "Queries 0 to 127, keys 256 to 383: empty"

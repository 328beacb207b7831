"""The page of a report: what it says, what it leaves out and why, and texts that attack it."""

import html
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import record, write_file

from self_ensemble import results
from self_ensemble.analysis.score_table import score_table
from self_ensemble.errors import UserError
from self_ensemble.report.page.page import external, shown
from self_ensemble.report.results_page.whole import MAX_BYTES, report_page
from self_ensemble.report.tables import markdown_text
from tests.report.report_folders import city_folder, fused_rows, page_of, wording_rows

SECTIONS = ("asked", "scores", "differences", "changes", "curve", "cost", "calibration",
            "agreement", "examples", "mask", "provenance")  # fmt: skip
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&lt;{{ 7*7 }}$x^2$"
    "\u202e\u05e9\u05dc\u05d5\u05dd\x00\ud83d\udc69\u200d\ud83d\udc67 #0072b2"
)


class _Outline(HTMLParser):
    """The text of every section, and whether all tags are closed."""

    VOID = frozenset({"meta", "input", "wbr", "br", "path", "use", "rect", "polygon"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.section = ""
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        if tag == "section":
            self.section = (found.get("id") or "").rpartition("-")[2]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.setdefault(self.section, []).append(data)


def outline(page: str) -> _Outline:
    found = _Outline()
    found.feed(page)
    found.close()
    assert not found.open
    assert len(found.ids) == len(set(found.ids))
    return found


def texts(page: str) -> dict[str, str]:
    return {name: " ".join(" ".join(parts).split()) for name, parts in outline(page).text.items()}


def rows_of(page: str, caption: str) -> list[list[str]]:
    """The cells of a table, as texts."""
    table = re.search(rf"<caption>{caption}</caption>(.*?)</table>", page, re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    cells = [[re.sub(r"<dl.*?</dl>", "", one, flags=re.DOTALL) for one in row] for row in cells]
    return [[html.unescape(re.sub("<[^>]*>", "", one)).strip() for one in row] for row in cells]


def nothing_unknown_is_printed(page: str) -> None:
    """No number that is none, in a text or a figure."""
    for text in texts(page).values():
        assert not re.search(r"(?i)(?<![a-z])(nan|inf)(?![a-z])", text), text[:300]
    for svg in re.findall("<svg.*?</svg>", page, re.DOTALL):
        assert not re.search(r"(?i)[\s\"(](nan|inf)[\s\",)]", svg)


@pytest.fixture
def folder(tmp_path) -> Path:
    return city_folder(tmp_path / "cities" / "tiny")


def test_every_section_is_there_and_full(folder):
    found = texts(page_of(folder))
    assert [name for name in found if name][: len(SECTIONS)] == list(SECTIONS)
    for name in SECTIONS:
        assert len(found[name]) > 60


def test_numbers_are_those_of_the_scores(folder):
    page, loaded = page_of(folder), results.load(folder)
    header, *rows = rows_of(page, "Every result file")
    assert header[:6] == ["file", "accuracy", "exact", "F1", "difference", "p (Holm)"]
    by_name = {row[0]: row for row in rows}
    for score in loaded.scores():
        cells = by_name[score.file]
        value, low, high, _ = score.accuracy
        assert cells[1] == f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        exact = loaded.estimate(score.file, "exact_match")
        assert cells[2].startswith(f"{100 * exact.value:.1f} ")
        assert cells[-2:] == [str(score.num_scored), str(score.num_errors)]
    changed = {row[0]: row[1:4] for row in rows_of(page, "Answers that changed")[1:]}
    compared = loaded.compare("vote-3", "origin")
    assert changed["vote-3"] == [
        str(len(compared.gained)), str(len(compared.lost)), str(len(compared.new or ())),
    ]  # fmt: skip


def test_a_table_has_every_number_of_a_figure(folder):
    loaded = results.load(folder)
    page = page_of(folder)
    points = loaded.curve().points
    rows = rows_of(page, "Accuracy over the number of wordings")[1:]
    assert len(rows) == len(points) > 0
    assert rows[0][2].startswith(f"{100 * points[0].accuracy.value:.1f} ")
    assert len(rows_of(page, "Bins of confidence")) > 5
    assert len(rows_of(page, "Cost and accuracy")) == 1 + len(loaded.files)


def test_every_figure_says_what_it_shows(folder):
    page = page_of(folder)
    drawn = re.findall(r"<svg[^>]*>", page)
    assert len(drawn) >= 6
    for tag in drawn:
        assert 'role="img"' in tag
        assert len(re.search(r'aria-label="([^"]*)"', tag)[1]) > 40


def test_equal_results_give_equal_bytes(folder):
    assert page_of(folder) == page_of(folder)


def test_no_figure_has_a_colour_of_its_own(folder):
    for svg in re.findall("<svg.*?</svg>", page_of(folder), re.DOTALL):
        assert not re.search(r"(?:fill|stroke): ?#", svg)


def test_examples_have_every_answer_right_or_wrong(folder):
    page = page_of(folder)
    assert page.count('<details class="example"') == 20
    kinds = re.findall(r'class="example" data-kinds="([^"]*)"', page)
    assert {"gained", "lost", "disagree"} <= set(" ".join(kinds).split())
    first = re.search(r'<details class="example".*?</details>', page, re.DOTALL)[0]
    assert "City 2 is which?" in first
    for text in ("vote-<wbr>3", "origin", "It is Rome.", "Oslo", "right", "wrong"):
        assert text.replace("<wbr>3", "3") in first.replace("<wbr>", "")
    assert first.count("<tr>") == 2 + 3 + 3


@pytest.mark.parametrize("change", [str, lambda text: text * 200], ids=["short", "long"])
def test_what_a_user_typed_cannot_run(tmp_path, change):
    text = change(HOSTILE).encode("utf-8", "surrogatepass").decode("utf-8", "replace")

    def hostile(row):
        row = dict(row) | {"paraphrases": [text, f"2 {text}", f"3 {text}"], "answers": [text]}
        if row["prediction"] == "Oslo":
            row["prediction"] = text
        if row["error"]:
            row["error"] = text
        return row | ({"paraphrase": text} if "paraphrase" in row else {})

    folder = city_folder(tmp_path / "d" / "m", hostile)
    write_file(folder / "$<b>&'#0072b2.feather", fused_rows("01" * 20, hostile))
    page = page_of(folder)
    assert page.count("<script") == 1
    assert "<img" not in page
    assert "<b>&" not in page
    assert external(page) == []
    assert len(page.encode()) < MAX_BYTES
    outline(page)
    assert html.escape(shown("onerror=alert(2)>\"'"))[:20] in page
    assert "\u202e" not in page
    assert "\x00" not in page
    # In a figure the name stays as it is, and no formula is made of it.
    assert ">$&lt;b&gt;&amp;'#0072b2</text>" in page


@pytest.mark.parametrize("name", ["x" * 200, "\u4f60\u597d" * 30, "$\\frac{a}{b}$", "a b\tc"])
def test_names_of_any_length_leave_room_for_the_figures(tmp_path, name):
    folder = tmp_path / "d" / "m"
    for file, marks in (("origin", "01" * 20), (name, "11" * 20), (f"{name}-2", "01" * 20),
                        (f"{name}-3", "11" * 20)):  # fmt: skip
        write_file(folder / f"{file}.feather", fused_rows(marks))
    # matplotlib warns where a figure has no room, and a warning is an error here.
    page = page_of(folder)
    assert page.count("<svg") >= 6
    # What a formula would be made of stays as it is.
    assert re.search(r"<text[^>]*>\$\\frac\{a\}\{b\}\$</text>", page) or "frac" not in name


def test_missing_files_leave_sections_out_with_a_reason(tmp_path):
    folder = tmp_path / "d" / "m"
    write_file(folder / "vote-3.feather", [record(f"q{i}", "Rome") for i in range(4)])
    found = texts(page_of(folder))
    assert "There is no origin.feather" in found["differences"]
    assert "There is no origin.feather" in found["changes"]
    assert "There is no per_prompt.feather" in found["curve"]
    assert "nothing to compare it with" in found["agreement"]
    assert "Without log-probabilities or confidences: vote-3" in found["calibration"]
    assert "No file of flex_attention has a manifest" in found["mask"]
    assert "Without a manifest" in found["provenance"]
    assert "No file has a manifest" in found["asked"]
    assert "how long its answers took" not in found["cost"]
    assert "4 questions" in found["examples"]


@pytest.mark.parametrize(
    "marks", ["1" * 12, "0" * 12, "_" * 12, "x" * 12, "1", "0", "x", "01"],
    ids=["all right", "all wrong", "all empty", "all errors", "one right", "one wrong",
         "one error", "two"],
)  # fmt: skip
@pytest.mark.parametrize("num_wordings", [1, 3])
def test_results_at_the_edge_give_a_page_without_unknown_numbers(tmp_path, marks, num_wordings):
    folder = tmp_path / "d" / "m"
    for name in ("origin", "vote-3", "flex_attention-3"):
        write_file(folder / f"{name}.feather", fused_rows(marks))
    write_file(folder / "per_prompt.feather", wording_rows([marks] * num_wordings))
    page = page_of(folder)
    outline(page)
    nothing_unknown_is_printed(page)


@pytest.mark.parametrize(
    "values",
    [
        {"seconds": np.inf}, {"seconds": -np.inf}, {"seconds": np.nan}, {"seconds": 0.0},
        {"mean_logprob": 0.5}, {"mean_logprob": -np.inf}, {"mean_logprob": np.nan},
        {"num_tokens": np.inf}, {"num_tokens": np.nan},
    ],
    ids=lambda values: "{} {}".format(*next(iter(values.items()))),
)  # fmt: skip
def test_numbers_of_other_tools_are_left_out_where_they_are_none(tmp_path, values):
    folder = city_folder(tmp_path / "d" / "m", lambda row: dict(row) | values)
    page = page_of(folder)
    nothing_unknown_is_printed(page)


def test_a_time_that_is_none_among_others_is_left_out(tmp_path):
    def some(row):
        return dict(row) | ({"seconds": np.inf} if row["uuid"] in ("q1", "q7", "q8") else {})

    nothing_unknown_is_printed(page_of(city_folder(tmp_path / "d" / "m", some)))


def test_files_of_other_tools_need_three_columns(tmp_path):
    folder = tmp_path / "d" / "m"
    for name in ("origin", "theirs"):
        write_file(
            folder / f"{name}.feather",
            [{"uuid": f"q{i}", "answers": ["Rome"], "prediction": "Rome"} for i in range(5)],
        )
    page = page_of(folder)
    nothing_unknown_is_printed(page)
    assert "No file says how long its answers took" in page


def test_several_folders_are_one_page_with_an_overview(tmp_path):
    for place in ("a/m", "b/m"):
        city_folder(tmp_path / place)
    page = report_page([results.load(tmp_path / place) for place in ("a/m", "b/m")])
    outline(page)
    assert "Report of 2 data sets and models" in page
    assert rows_of(page, "Accuracy of every file in every folder")
    assert rows_of(page, "Difference to origin, pooled over data sets")
    assert 'href="#f1-scores"' in page


def test_a_page_that_would_be_too_large_shows_fewer_examples(folder, monkeypatch):
    from self_ensemble.report.results_page import whole

    whole_size = len(page_of(folder).encode())
    monkeypatch.setattr(whole, "MAX_BYTES", whole_size - 1)
    assert page_of(folder).count('<details class="example"') == 10
    monkeypatch.setattr(whole, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"too large for one page\. Choose with --dataset"):
        page_of(folder)


def test_an_unknown_baseline_is_named_with_the_nearest(folder):
    with pytest.raises(UserError, match=r"Unknown baseline 'vote3'. Did you mean 'vote-3'"):
        report_page([results.load(folder)], baseline="vote3")


def test_another_baseline_and_clusters_are_used(folder):
    columns = {f"q{i}": {"kind": f"k{i % 4}"} for i in range(40)}
    loaded = results.load(folder, columns=columns)
    page = report_page([loaded], baseline="vote-3", cluster="kind")
    assert "Differences to vote-3" in page
    assert "groups of equal kind" in page
    value = loaded.scores("vote-3", "kind")[0]
    assert f"{100 * value.accuracy.low:.1f}, {100 * value.accuracy.high:.1f}]" in page


def test_seconds_and_tokens_have_the_digits_that_analyze_shows(tmp_path):
    rows = [
        row | {"tokens": 70 + i, "seconds": 1.23456} for i, row in enumerate(fused_rows("010"))
    ]
    rows[-1] |= {"tokens": 71}  # 212 in three questions
    write_file(tmp_path / "origin.feather", rows)
    loaded = results.load(tmp_path)
    shown_cells = (">1.23<", ">70.7<")
    page = report_page([loaded])
    assert [page.count(cell) for cell in shown_cells] == [2, 2]  # scores and cost
    table = markdown_text(score_table([loaded]))
    assert " 1.23 |" in table
    assert " 70.7 |" in table


def test_a_report_says_from_where_its_wordings_are_numbered(tmp_path):
    said = "numbered from 1 here"
    assert said in page_of(city_folder(tmp_path / "with"))
    write_file(tmp_path / "without" / "origin.feather", fused_rows("010"))
    assert said not in page_of(tmp_path / "without")

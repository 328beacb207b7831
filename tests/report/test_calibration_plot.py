"""The reliability plot: what it shows, and that nothing in it lies over something else."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from self_ensemble.errors import UserError
from self_ensemble.report.reliability_plot import reliability_figure, write_reliability_plot
from self_ensemble.scoring.calibration_table import CalibrationRow, calibration_table
from self_ensemble.scoring.folders import calibration_folders
from self_ensemble.scoring.lemmas import simplemma_lemmatiser

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from calibration_files import confidence_file, likelihood_file

NAMES = (
    *("confidence", "confidence-logprob", "confidence-p_true"),
    *("ensemble_weighted_avg-5", "flex_attention-5", "origin", "per_prompt", "vote-5"),
    "diversity/ensemble_weighted_avg-0,2,4,5,6,7",
)


def rows_of(folder: Path, names: tuple[str, ...], num_bins: int = 10) -> list[CalibrationRow]:
    """Rows of files with 200 answers each, by chance right as often as their confidence says."""
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        confidences = 0.2 + 0.8 * rng.beta(2, 2, 200)  # so that two bins are empty
        marks = "".join("01"[int(right)] for right in rng.random(200) < confidences)
        write = confidence_file if name.startswith("confidence") else likelihood_file
        write(folder / f"{name}.feather", marks, list(confidences))
    folders = calibration_folders(folder.parent.parent)
    table = calibration_table(
        folders, simplemma_lemmatiser(), lemmatiser_name="simplemma", num_bins=num_bins
    )
    return list(table.rows)


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[CalibrationRow]:
    return rows_of(tmp_path_factory.mktemp("results") / "webqa" / "tiny", NAMES)


@pytest.fixture(scope="module")
def figure(rows) -> Figure:
    drawn = reliability_figure(rows)
    drawn.canvas.draw()
    return drawn


def panels(figure: Figure) -> dict[str, list[Axes]]:
    """Axes by title without line breaks: diagrams have one, strips and curves have none."""
    found: dict[str, list[Axes]] = {}
    for axes in figure.axes:
        found.setdefault(axes.get_title().replace("\n", ""), []).append(axes)
    return found


def shown_texts(figure: Figure) -> list[Text]:
    """All texts but the labels of ticks beyond the ends of their axis, which are not drawn."""
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = axis.get_view_interval()
        ticks = axis.get_major_ticks()
        hidden |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    texts = (text for text in figure.findobj(Text) if text.get_text() and text.get_visible())
    return [text for text in texts if text not in hidden]


def accuracies_drawn(diagram: Axes) -> list[float]:
    """Heights of the dark lines, one a bin with answers."""
    return [line.get_ydata()[0] for line in diagram.lines if len(set(line.get_ydata())) == 1]


def test_every_row_has_a_diagram_whose_dark_lines_are_the_accuracies(figure, rows):
    for row in rows:
        (axes,) = panels(figure)[row.name]
        filled = row.bins.num_answers > 0
        assert accuracies_drawn(axes) == pytest.approx(row.bins.accuracy[filled])
        tops = {round(bar.get_y() + bar.get_height(), 9) for bar in axes.patches}
        assert {round(value, 9) for value in row.bins.confidence[filled]} <= tops


def test_every_strip_counts_the_answers_of_its_bins(figure, rows):
    strips = [axes for axes in panels(figure)[""] if axes.patches]
    for axes, row in zip(strips, rows, strict=True):
        assert [bar.get_height() for bar in axes.patches] == list(row.bins.num_answers)
        written = [int(text.get_text()) for text in axes.texts]
        assert written == [count for count in row.bins.num_answers if count]


@pytest.mark.parametrize("times", [1, 4])
def test_curves_end_at_the_error_rate_of_each_row_and_no_chart_has_too_many(rows, times):
    rows = sorted(times * rows, key=lambda row: row.estimator is None)
    figure = reliability_figure(rows)
    charts = [axes for axes in panels(figure)[""] if axes.lines and not axes.patches]
    assert max(len(axes.lines) for axes in charts) <= 7
    assert len({axes.get_ylim() for axes in charts}) == 1
    lines = [line for axes in charts for line in axes.lines]
    assert [line.get_label().split("  (")[0] for line in lines] == [row.name for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert line.get_ydata()[-1] == pytest.approx(1 - row.accuracy.value)


@pytest.mark.parametrize("num_rows", [1, 3, len(NAMES), 4 * len(NAMES)])
def test_no_text_lies_over_another_or_out_of_the_picture(rows, num_rows):
    model = "organisation__A-Model-With-A-Long-Name-2.5-70B-Instruct-v0.3"
    figure = reliability_figure([replace(row, model=model) for row in (rows * 4)[-num_rows:]])
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown_texts(figure)]
    outside = [name for name, box in boxes if box.x0 < 0 or box.y0 < 0]
    outside += [name for name, box in boxes if box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1]
    assert outside == []
    # Less than a pixel each way is no overlap.
    over = [
        (one, other)
        for (one, a), (other, b) in combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    assert over == []


@pytest.mark.parametrize("num_bins", [1, 20])
def test_one_file_and_any_number_of_bins_can_be_drawn(tmp_path, num_bins):
    rows = rows_of(tmp_path / "d" / "m", ("confidence",), num_bins)
    path = tmp_path / "calibration.png"
    write_reliability_plot(path, rows, say=print)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_few_answers_of_one_class_are_drawn_though_auroc_is_unknown(tmp_path):
    confidence_file(tmp_path / "d" / "m" / "confidence.feather", "11", [0.0, 1.0])
    folders = calibration_folders(tmp_path)
    table = calibration_table(folders, simplemma_lemmatiser(), lemmatiser_name="simplemma")
    (row,) = table.rows
    assert np.isnan(row.auroc.value)
    figure = reliability_figure(table.rows)
    assert accuracies_drawn(panels(figure)[row.name][0]) == [1.0, 1.0]
    assert any(text.get_text().endswith("AUROC -") for text in shown_texts(figure))
    write_reliability_plot(tmp_path / "calibration.png", table.rows, say=print)
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_changes_no_setting_and_does_not_load_pyplot(rows):
    before = dict(matplotlib.rcParams)
    reliability_figure(rows[:1])
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys, self_ensemble.report.reliability_plot;"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_file_that_cannot_be_written_is_refused(rows):
    with pytest.raises(UserError, match=r"Cannot write /no/such/plot\.png"):
        write_reliability_plot(Path("/no/such/plot.png"), rows[:1], say=print)

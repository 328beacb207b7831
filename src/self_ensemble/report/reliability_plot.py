"""Reliability diagrams and risk-coverage curves of one data set and model, as one PNG.

    estimators     [diagram] [diagram] [diagram] [diagram]     a diagram is a bar of accuracy per
    result files   [diagram] [diagram]                         bin over a strip of answers per bin
    risk-coverage  [ estimators      ] [ result files    ]     at most seven curves in a chart

The charts have one scale, so that they can be compared.
"""

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter

from self_ensemble.report.cells import decimal, percent
from self_ensemble.report.figure import BOXES, save_figure
from self_ensemble.report.plot_style import COLOURS, FAINT, INK, STRIP, plain
from self_ensemble.scoring.calibration import Bins, risk_coverage
from self_ensemble.scoring.calibration_table import CalibrationRow

# A bar of fewer answers is pale: its height says little.
FEW_ANSWERS = 10

_DPI = 160
_LEAST_COLUMNS, _MOST_COLUMNS = 3, 4
# In inches:
_WIDTH, _HEIGHT, _CURVES_HEIGHT = 3.1, 3.1, 3.2
_MARGIN, _TITLE_LINE, _TEXT_LINE = 0.1, 0.28, 0.19
# Letters in an inch, a little fewer than fit; and in the longest line that reads well.
_TITLE_LETTERS, _TEXT_LETTERS, _LONGEST_LINE = 6.5, 12, 120
_LEFT = 0.012  # of the figure's width
_NAME_LENGTH = 32  # letters in a line
_BAR_SHARE = 0.9
# Numbers over the bars of the strip fit up to so many bins; beyond, the largest is numbered.
_MOST_COUNTED_BINS = 12
_BAR, _OVER, _UNDER = "#3f7cac", "#f0b6bc", "#8fcfb4"
_CHARTS_IN_LINE = 2


def write_reliability_plot(
    path: Path, rows: Sequence[CalibrationRow], *, say: Callable[[str], None]
) -> None:
    """Draw all rows of one data set and model and write the PNG.

    Raises:
        UserError: The file cannot be written.
    """
    if not save_figure(reliability_figure(rows), path, _DPI):
        say(BOXES)


def reliability_figure(rows: Sequence[CalibrationRow]) -> Figure:
    """Draw a reliability diagram of every row, and the risk-coverage curves below.

    Args:
        rows: At least one, all of the same data set and model.
    """
    kinds = {
        "Estimators of confidence, each wording alone": [r for r in rows if r.estimator],
        "Result files, confidence exp(mean log-probability)": [r for r in rows if not r.estimator],
    }
    sections = {title: members for title, members in kinds.items() if members}
    most = len(COLOURS)
    charts = [
        members[start : start + most]
        for members in sections.values()
        for start in range(0, len(members), most)
    ]
    num_columns = min(_MOST_COLUMNS, max(_LEAST_COLUMNS, *map(len, sections.values())))
    width = _WIDTH * num_columns
    lines = _title_lines(rows[0], width)
    heights = [
        3 * _MARGIN + _TITLE_LINE * len(lines[0]) + _TEXT_LINE * len(lines[1]),
        *(_HEIGHT * ceil(len(members) / num_columns) for members in sections.values()),
        _CURVES_HEIGHT * ceil(len(charts) / _CHARTS_IN_LINE),
    ]
    figure = Figure(figsize=(width, sum(heights)), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.05, hspace=0.0, wspace=0.03)
    title, *diagrams, curves = figure.subfigures(
        len(heights), 1, squeeze=False, height_ratios=heights
    )[:, 0]
    _draw_title(title, lines, heights[0])
    for part, (name, members) in zip(diagrams, sections.items(), strict=True):
        _section_title(part, name)
        _draw_diagrams(part, members, num_columns)
    _section_title(curves, "Risk and coverage: error rate if only the surest answers are kept")
    _draw_curves(curves, charts)
    return figure


def _title_lines(row: CalibrationRow, width: float) -> tuple[list[str], list[str]]:
    """Title and explanation, each in lines that fit a width in inches."""
    title = f"Calibration: {row.dataset} / {row.model}"
    explanation = (
        "Dark lines: share of right answers of each bin of confidence; on the diagonal the two "
        "are equal. From there to the bin's mean confidence: red is overconfident, green "
        f"underconfident. Pale: fewer than {FEW_ANSWERS} answers. Numbers below: answers."
    )
    return (
        wrap(title, int(_TITLE_LETTERS * width)),
        wrap(explanation, min(_LONGEST_LINE, int(_TEXT_LETTERS * width))),
    )


def _draw_title(part: SubFigure, lines: tuple[list[str], list[str]], height: float) -> None:
    title, explanation = map("\n".join, lines)
    top = 1 - _MARGIN / height
    below = 1 - (2 * _MARGIN + _TITLE_LINE * len(lines[0])) / height
    big = part.text(_LEFT, top, title, fontsize=15, fontweight="bold", color=INK, va="top")
    big.set_linespacing(1.3)
    small = part.text(_LEFT, below, explanation, fontsize=8.5, color=FAINT, va="top")
    small.set_linespacing(1.5)


def _section_title(part: SubFigure, title: str) -> None:
    part.suptitle(title, x=_LEFT, ha="left", fontsize=11.5, color=INK)


def _draw_diagrams(part: SubFigure, rows: Sequence[CalibrationRow], num_columns: int) -> None:
    num_lines = ceil(len(rows) / num_columns)
    grid = part.add_gridspec(2 * num_lines, num_columns, height_ratios=[4.2, 1] * num_lines)
    for index, row in enumerate(rows):
        line, column = divmod(index, num_columns)
        main = part.add_subplot(grid[2 * line, column])
        strip = part.add_subplot(grid[2 * line + 1, column], sharex=main)
        _draw_diagram(main, row)
        _draw_strip(strip, row.bins)
        if column == 0:
            main.set_ylabel("accuracy", fontsize=8, color=FAINT)


def _draw_diagram(axes: Axes, row: CalibrationRow) -> None:
    plain(axes)
    bins = row.bins
    width = 1 / len(bins.num_answers)
    columns = (bins.edges[:-1], bins.num_answers, bins.accuracy, bins.confidence)
    for left, count, accuracy, confidence in zip(*map(np.ndarray.tolist, columns), strict=True):
        if not count:
            continue
        alpha = 1.0 if count >= FEW_ANSWERS else 0.3
        center, bar_width = left + width / 2, _BAR_SHARE * width
        base, gap = min(accuracy, confidence), abs(accuracy - confidence)
        gap_colour = _OVER if confidence > accuracy else _UNDER
        axes.bar(center, base, bar_width, color=_BAR, alpha=alpha)
        axes.bar(center, gap, bar_width, base, color=gap_colour, alpha=alpha)
        ends = (center - bar_width / 2, center + bar_width / 2)
        axes.plot(ends, (accuracy, accuracy), color=INK, alpha=alpha, linewidth=1.5)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    quarters = (0, 0.25, 0.5, 0.75, 1)
    # A bar at 0 or 1 keeps its cap.
    axes.set(xlim=(0, 1), ylim=(-0.01, 1.01), xticks=quarters, yticks=quarters)
    axes.tick_params(labelbottom=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    name = "\n".join(wrap(row.name, _NAME_LENGTH))
    axes.set_title(name, fontsize=9.5, color=INK, fontweight="bold", pad=17)
    axes.text(
        0.5,
        1.03,
        f"ECE {percent(row.ece.value)} %    AUROC {decimal(row.auroc.value)}",
        transform=axes.transAxes,
        ha="center",
        va="bottom",
        fontsize=8,
        color=FAINT,
    )


def _draw_strip(axes: Axes, bins: Bins) -> None:
    plain(axes)
    width = 1 / len(bins.num_answers)
    centers, counts = bins.edges[:-1] + width / 2, bins.num_answers
    axes.bar(centers, counts, _BAR_SHARE * width, color=STRIP)
    fits = len(counts) <= _MOST_COUNTED_BINS
    for center, count in zip(centers.tolist(), counts.tolist(), strict=True):
        if count and (fits or count == counts.max()):
            text = f"{count:.0f}"
            axes.text(center, count, text, ha="center", va="bottom", fontsize=5.5, color=FAINT)
    axes.set(ylim=(0, 1.5 * counts.max()), yticks=[])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("confidence", fontsize=8, color=FAINT)


def _draw_curves(part: SubFigure, charts: Sequence[Sequence[CalibrationRow]]) -> None:
    highest = 0.0
    num_columns = min(_CHARTS_IN_LINE, len(charts))
    grid = part.subplots(ceil(len(charts) / num_columns), num_columns, squeeze=False)
    for axes in grid.flat[len(charts) :]:
        axes.set_axis_off()
    for axes, rows in zip(grid.flat, charts, strict=False):
        plain(axes)
        for row, colour in zip(rows, COLOURS, strict=False):
            # The error rate of a handful of answers jumps between 0 and 1.
            coverage, risk = (values[FEW_ANSWERS - 1 :] for values in risk_coverage(row.levels))
            label = f"{row.name}  ({decimal(row.aurc.value)})"
            axes.plot(coverage, risk, color=colour, linewidth=1.6, label=label)
            highest = max([highest, *risk])
        axes.set_xlim(0, 1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("coverage (share of answers kept)", fontsize=8, color=FAINT)
        axes.set_ylabel("risk (error rate)", fontsize=8, color=FAINT)
        legend = axes.legend(
            title="name  (AURC, lower is better)",
            title_fontsize=7.5,
            fontsize=7.5,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            labelcolor=INK,
            alignment="left",
            frameon=False,
        )
        legend.get_title().set_color(FAINT)
    # One scale, so that charts can be compared.
    for axes in grid.flat:
        axes.set_ylim(0, 1.05 * highest or None)

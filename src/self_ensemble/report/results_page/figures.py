"""Figures of a report: matplotlib's SVG as part of a page, in the colours of the page.

A figure is drawn in the colours of `plot_style`, which are then exchanged for the page's own: so
it is right in light and dark and on paper. Texts stay texts, which a reader can select and a
browser sets in its own letters. Nothing in it depends on the day or on chance.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter
from scipy.stats import beta

from self_ensemble.report.page.page import shown
from self_ensemble.report.plot_style import COLOURS, FAINT, GRID, INK, STRIP, plain
from self_ensemble.scoring.calibration_table import CalibrationRow
from self_ensemble.scoring.statistics import Estimate

# Texts of the figures are made for a column of a paper; a page is read from further away.
_LARGER = 1.2
_PANEL = (2.5, 2.5)  # inches
_OF_THE_PAGE = {
    **{colour: f"var(--series-{place})" for place, colour in enumerate(COLOURS)},
    INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--line)", STRIP: "var(--strip)",
    # Also matplotlib's own: of texts and frames, and of the inside of lines.
    "#000000": "var(--ink)", "#ffffff": "var(--paper)", "#1f77b4": "var(--series-0)",
}  # fmt: skip
_COLOUR = re.compile(rf"((?:fill|stroke): )({'|'.join(_OF_THE_PAGE)})")
_TAG = re.compile(r"<[^>]*>")
_ID = re.compile(r'\b(id="|href="#|url\(#)')


class PageFigure(NamedTuple):
    """A figure.

    Attributes:
        svg: What is drawn.
        caption: What it shows, in words.
        title: What is above it among others; "" for none.
    """

    svg: Markup
    caption: str
    title: str = ""


def page_figure(key: str, alt: str, caption: str, draw: Callable[[], Figure]) -> PageFigure:
    """Draw a figure for a page.

    Args:
        key: Unlike that of any other figure of the page.
        alt: What it shows, for who does not see it.
        caption: What stands below it.
        draw: Draws it.
    """
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "self-ensemble",
        "text.parse_math": False,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A name in letters that matplotlib has no picture of is drawn by the browser.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        figure = draw()
        figure.suptitle("")
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_fontsize(float(text.get_fontsize()) * _LARGER)
        return PageFigure(_svg(figure, key, alt), caption)


def _svg(figure: Figure, key: str, alt: str) -> Markup:
    written = io.StringIO()
    FigureCanvasSVG(figure)
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, metadata=metadata)
    drawn = written.getvalue()
    inside = drawn[drawn.index("<defs>") : drawn.rindex("</svg>")]
    # The first style is for every element of whatever it is part of.
    inside = inside[inside.index("</defs>") + len("</defs>") :]
    inside = _TAG.sub(lambda match: _of_the_page(match[0], key), inside)
    inside = re.sub(r">\s+<", "><", re.sub(r"<!--.*?-->", "", inside, flags=re.DOTALL))
    box = re.search(r'viewBox="([^"]*)"', drawn)
    assert box is not None
    width = box[1].split()[2]
    name = escape(shown(alt))
    return Markup(
        f'<svg role="img" aria-label="{name}" viewBox="{box[1]}" style="--width: {width}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f"{inside}</svg>"
    )


def _of_the_page(tag: str, key: str) -> str:
    """A tag of matplotlib's in the page's colours and letters, and no longer than it must be."""
    tag = _COLOUR.sub(lambda match: match[1] + _OF_THE_PAGE[match[2]], tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", " ".join(tag.split()))
    tag = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", tag)
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    # Groups are named, and nothing refers to them.
    return "<g>" if re.fullmatch(r'<g id="[^"]*">', tag) else _ID.sub(rf"\1{key}-", tag)


def reliability_panel(row: CalibrationRow, confidence: float) -> Figure:
    """Accuracy of the answers in each bin of confidence, with intervals; on the line they are one.

    Args:
        row: The answers of one file.
        confidence: Coverage of the intervals, which are exact binomial ones.
    """
    figure = Figure(figsize=_PANEL)
    FigureCanvasSVG(figure)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    plain(axes)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    shown_bins = [one for one in bin_estimates(row, confidence) if one.accuracy.n]
    mean = np.array([one.mean_confidence for one in shown_bins])
    value, low, high = (np.array([one.accuracy[end] for one in shown_bins]) for end in range(3))
    largest = max((one.accuracy.n for one in shown_bins), default=1)
    axes.errorbar(
        mean, value, yerr=np.maximum(0, [value - low, high - value]), fmt="none",
        ecolor=COLOURS[0], linewidth=1, capsize=2,
    )  # fmt: skip
    sizes = [6 + 34 * one.accuracy.n / largest for one in shown_bins]
    axes.scatter(mean, value, sizes, color=COLOURS[0], zorder=3)
    quarters = (0, 0.25, 0.5, 0.75, 1)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=quarters, yticks=quarters)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("confidence", fontsize=7.5, color=FAINT)
    axes.set_ylabel("accuracy", fontsize=7.5, color=FAINT)
    return figure


class BinEstimate(NamedTuple):
    """The answers of one bin of confidence: its ends, their mean confidence, their accuracy."""

    low: float
    high: float
    mean_confidence: float
    accuracy: Estimate


def bin_estimates(row: CalibrationRow, confidence: float) -> list[BinEstimate]:
    """Every bin, with the exact binomial interval of its accuracy (Clopper and Pearson 1934)."""
    bins = row.bins
    columns: Sequence[list[float]] = [
        np.asarray(values).tolist()
        for values in (bins.edges[:-1], bins.edges[1:], bins.confidence, bins.accuracy,
                       bins.num_answers)
    ]  # fmt: skip
    return [
        BinEstimate(low, high, mean, _binomial(accuracy, int(number), confidence))
        for low, high, mean, accuracy, number in zip(*columns, strict=True)
    ]


def _binomial(share: float, number: int, confidence: float) -> Estimate:
    if not number or not isfinite(share):
        return Estimate(nan, nan, nan, 0)
    right, tail = round(share * number), (1 - confidence) / 2
    low = float(beta.ppf(tail, right, number - right + 1)) if right else 0.0
    high = float(beta.ppf(1 - tail, right + 1, number - right)) if right < number else 1.0
    return Estimate(share, low, high, number)

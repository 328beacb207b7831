"""What all figures have in common: colours for the colour-blind, and quiet axes."""

from itertools import accumulate
from unicodedata import east_asian_width

from matplotlib.axes import Axes

from self_ensemble.report.page.page import shown

INK, FAINT, GRID, STRIP = "#22303c", "#6b7a87", "#e3e8ec", "#a9b8c4"
# Okabe and Ito's colours without yellow; a chart has as many curves at most.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")

_LONGEST = 30  # letters


def plain(axes: Axes) -> None:
    """Draw no more of the axes than reading needs."""
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(length=0, pad=5, labelsize=7.5, labelcolor=FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(STRIP)


def label(name: str) -> str:
    """A file's name as it stands in a figure: on one line, and so that it leaves room for it."""
    text = " ".join(shown(name).split())
    # Chinese, Japanese and Korean letters are twice as wide.
    widths = list(accumulate(1 + (east_asian_width(letter) in "WF") for letter in text))
    if not widths or widths[-1] <= _LONGEST:
        return text
    return text[: sum(width < _LONGEST for width in widths)] + "\u2026"

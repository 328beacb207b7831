"""What all figures have in common: colours for the colour-blind, and quiet axes."""

from matplotlib.axes import Axes

from self_ensemble.report.page.page import shown

INK, FAINT, GRID, STRIP = "#22303c", "#6b7a87", "#e3e8ec", "#a9b8c4"
# Okabe and Ito's colours without yellow; a chart has as many curves at most.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")

_LONGEST = 40


def plain(axes: Axes) -> None:
    """Draw no more of the axes than reading needs."""
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(length=0, pad=5, labelsize=7.5, labelcolor=FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(STRIP)


def label(name: str) -> str:
    """A file's name as it stands in a figure: on one line, and not too long."""
    text = " ".join(shown(name).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\u2026"

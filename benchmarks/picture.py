"""What the benchmarks' pictures have in common: how they begin, their small print, their file."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from self_ensemble.report.can_draw import check_can_draw
from self_ensemble.report.files import write_file

if TYPE_CHECKING:  # of an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS_COLOUR, RIVAL_COLOUR = "#1b6ca8", "#8a8f98"


def new_figure(height: float) -> "Figure":
    """An empty figure, 9 inches wide.

    Raises:
        UserError: Matplotlib is not installed.
    """
    check_can_draw("--plot")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def quiet(axes: "Axes", grid: str, *sides: str) -> None:
    """Pale lines along an axis ("x", "y" or "both"), and no frame at some sides."""
    axes.grid(visible=True, axis=grid, which="major", color="#e4e4e4")  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for side in sides:
        axes.spines[side].set_visible(False)


def write_figure(figure: "Figure", path: Path, title: str, footer: str) -> None:
    """Write a figure as PNG.

    Args:
        figure: What is drawn.
        path: Where to.
        title: First line, or lines.
        footer: Small print: machine, versions.

    Raises:
        UserError: The file cannot be written.
    """
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    figure.supxlabel(footer, fontsize=7, color="#777777", x=0.01, ha="left")
    written = io.BytesIO()
    figure.savefig(written, dpi=150, format="png")
    write_file(path, written.getvalue())

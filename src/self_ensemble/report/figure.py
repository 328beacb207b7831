"""An empty figure as wide as a column of a paper, made without pyplot: nothing global is set."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from self_ensemble.report.plot_style import INK, plain

# In inches: a column of a paper is 3.3 wide, and letters shrink with it.
COLUMN_WIDTH = 4.2
LETTERS = 8  # points, of what stands beside the axes


def column_figure(height: float, title: str, width: float = COLUMN_WIDTH) -> tuple[Figure, Axes]:
    """A figure with one pair of axes.

    Args:
        height: In inches.
        title: Stands above it.
        width: In inches.
    """
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    plain(axes)
    figure.suptitle(title, fontsize=9.5, color=INK, fontweight="bold", x=0.02, ha="left")
    return figure, axes

"""Figures as files, and an empty one as wide as a column of a paper.

Figures are made without pyplot: nothing global is set, and no window system is asked for.
"""

import io
import warnings
from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from self_ensemble.report.files import write_file
from self_ensemble.report.plot_style import INK, plain

# In inches: a column of a paper is 3.3 wide, and letters shrink with it.
COLUMN_WIDTH = 4.2
LETTERS = 8  # points, of what stands beside the axes
# Han, kana and hangul, which matplotlib's own font lacks, as Linux, Windows and macOS have them.
EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "Malgun Gothic",
    "PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS",
)  # fmt: skip
BOXES = (
    "Some letters in figures are boxes, because no font here has them. Install one that does "
    f"(Noto Sans CJK has Chinese), and empty {mpl.get_cachedir()}, where matplotlib lists fonts."
)


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


def save_figure(figure: Figure, path: Path, dpi: int) -> bool:
    """Write a figure as what the file's name ends in, .png or .svg; equal ones give equal bytes.

    Returns:
        Whether every letter was drawn; else a box stands in its place, as `BOXES` tells.

    Raises:
        UserError: The file cannot be written.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        # A name with dollars in it is no formula.
        text.set_parse_math(False)
        text.set_fontfamily(_families())
    try:
        content, whole = _drawn(figure, path, dpi, "error"), True
    except UserWarning:
        content, whole = _drawn(figure, path, dpi, "ignore"), False
    write_file(path, content)
    return whole


def _drawn(figure: Figure, path: Path, dpi: int, missing: Literal["error", "ignore"]) -> bytes:
    kind = path.suffix[1:].lower()
    written = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "self-ensemble"}), warnings.catch_warnings():
        warnings.filterwarnings(missing, r"Glyph \d+", UserWarning)
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(written, dpi=dpi, format=kind, metadata=metadata)
    return written.getvalue()


@cache
def _families() -> list[str]:
    """Fonts in the order in which a letter is looked for, of those that are installed."""
    installed = set(fontManager.get_font_names())
    return [*mpl.rcParams["font.family"], *(name for name in EAST_ASIAN if name in installed)]

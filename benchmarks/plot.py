"""The picture: milliseconds per question of every rival, and the floor of each."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.picture import OURS_COLOUR, RIVAL_COLOUR, new_figure, quiet, write_figure
from benchmarks.summary import Row

FLOOR_COLOUR = "#d1495b"
LABELS = {
    "published": "published loop",
    "generate_one": "generate, one wording",
    "generate_five": "generate, all wordings",
    "causal_concat": "generate, all in one prompt",
    "all": "all methods in one go",
}


def plot_rows(path: Path, rows: Sequence[Row], title: str, footer: str) -> None:
    """Write the picture as PNG.

    Args:
        path: Where to.
        rows: The rivals, the slowest on top.
        title: First line.
        footer: Small print: machine, versions.

    Raises:
        UserError: Matplotlib is missing, or the file cannot be written.
    """
    ordered = sorted(rows, key=lambda row: row.ms_per_question.median)
    figure = new_figure(2.0 + 0.42 * len(ordered))
    # Here, not above: the library is an extra.
    from matplotlib.lines import Line2D

    axes = figure.add_subplot()
    for place, row in enumerate(ordered):
        colour = OURS_COLOUR if row.is_ours else RIVAL_COLOUR
        median, p10, p90 = row.ms_per_question
        axes.plot([p10, p90], [place, place], color=colour, linewidth=5, alpha=0.35)
        axes.plot([median], [place], "o", color=colour, markersize=8)
        floor = row.floor_ms_per_question
        axes.plot([floor, median], [place, place], color=colour, linewidth=1, alpha=0.5)
        axes.plot([floor], [place], "|", color=FLOOR_COLOUR, markersize=14, markeredgewidth=2.5)
        axes.annotate(
            _label(median), (max(median, p90), place), xytext=(9, 0), textcoords="offset points",
            va="center", fontsize=9, color=colour, fontweight="bold" if row.is_ours else "normal",
        )  # fmt: skip
    axes.set_yticks(range(len(ordered)), [LABELS.get(row.name, row.name) for row in ordered])
    for label, row in zip(axes.get_yticklabels(), ordered, strict=True):
        label.set_color(OURS_COLOUR if row.is_ours else "#444444")
        label.set_fontweight("bold" if row.is_ours else "normal")
    axes.set_xscale("log")
    axes.margins(x=0.16, y=0.5 / len(ordered))
    axes.set_xlabel("milliseconds per question (logarithmic), less is better")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    quiet(axes, "x", "top", "right", "left")
    axes.tick_params(axis="y", length=0)
    marks = [
        Line2D([], [], marker="o", linestyle="", color=OURS_COLOUR, label="this engine"),
        Line2D([], [], marker="o", linestyle="", color=RIVAL_COLOUR, label="rivals"),
        Line2D([], [], marker="|", linestyle="", color=FLOOR_COLOUR, markersize=12,
               markeredgewidth=2.5, label="least time for the same work (roofline)"),
    ]  # fmt: skip
    axes.legend(
        handles=marks, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False,
        fontsize=9, borderaxespad=0.2,
    )  # fmt: skip
    write_figure(figure, path, title.replace(": ", "\n", 1), footer)


def _label(milliseconds: float) -> str:
    if milliseconds >= 1e3:
        return f"{milliseconds / 1e3:,.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.2f} ms"

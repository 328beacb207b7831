"""The picture, from the document: one wording, five, and five fused, by every engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.engines.document import median
from benchmarks.engines.tables import machine
from benchmarks.picture import OURS_COLOUR, RIVAL_COLOUR, new_figure, quiet, write_figure

# Panels from left to right, and which columns are bars in each.
PANELS = {
    "one": ("One wording", ("one",)),
    "five": ("Five wordings", ("five",)),
    "fused": ("Five wordings, fused into one answer by self-ensemble", ("flex_attention", "avg")),
}
DASHED = "dashed: the fastest rival's five wordings, not fused"
# Bars end here, in units of the fastest rival; longer ones are cut and say how long they are.
CUT = 3.0


def plot(path: Path, document: Mapping[str, Any], part: str = "wall") -> None:
    """Write the picture as PNG.

    Raises:
        UserError: Matplotlib is missing, or the file cannot be written.
    """
    panels = {key: _bars(document, part, columns) for key, (_, columns) in PANELS.items()}
    shown = {key: bars for key, bars in panels.items() if bars}
    heights = [max(len(bars), 2) for bars in shown.values()]
    figure = new_figure(1.7 + 0.33 * sum(heights))
    grid = figure.subplots(len(shown), 1, height_ratios=heights, squeeze=False, sharex=True)
    fastest = min((ms for _, ms, ours in panels["five"] if not ours), default=None)
    everything = [ms for bars in shown.values() for _, ms, _ in bars]
    limit = min(max(everything), CUT * (fastest or min(everything)))
    for axes, (key, bars) in zip(grid[:, 0], shown.items(), strict=True):
        _panel(axes, PANELS[key][0], bars, limit)
        if key == "fused" and fastest is not None:
            axes.axvline(fastest, color=RIVAL_COLOUR, linestyle="--", linewidth=1.2)
            axes.text(
                0.99, 0.97, DASHED, transform=axes.transAxes, ha="right", va="top",
                fontsize=8.5, color="#555555",
            )  # fmt: skip
    grid[-1, 0].set_xlabel("milliseconds per question, less is better")
    work = document["work"]
    about = "wall time on all cores" if part == "wall" else "CPU time on one core"
    title = (
        f"{work['model']}, {about}: {work['questions']} questions in one batch, "
        f"{work['new_tokens']} new tokens"
    )
    write_figure(figure, path, title, machine(document).replace("; ", "\n"))


def _bars(
    document: Mapping[str, Any], part: str, columns: tuple[str, ...]
) -> list[tuple[str, float, bool]]:
    """Label, milliseconds and whether it is ours, the fastest first."""
    found = []
    for name, line in document["lines"].items():
        for column in columns:
            ms = median(document, part, name, column)
            if ms is not None:
                title = line["title"].replace("`", "")
                if len(columns) > 1:
                    title = f"{title.removeprefix('self-ensemble, ')}, {column}"
                found.append((title, ms, line["engine"] == "ours"))
    return sorted(found, key=lambda one: one[1])


def _panel(axes: Any, title: str, bars: list[tuple[str, float, bool]], limit: float) -> None:
    places = range(len(bars))
    colours = [OURS_COLOUR if ours else RIVAL_COLOUR for _, _, ours in bars]
    axes.barh(places, [min(ms, limit) for _, ms, _ in bars], color=colours, height=0.72)
    for place, (_, ms, ours) in zip(places, bars, strict=True):
        text = f"{ms:,.0f}" if ms <= limit else f"{ms:,.0f}  (cut)"
        axes.annotate(
            text, (min(ms, limit), place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=OURS_COLOUR if ours else "#444444",
            fontweight="bold" if ours else "normal",
        )  # fmt: skip
    axes.set_yticks(places, [label for label, _, _ in bars], fontsize=8.5)
    for label, (_, _, ours) in zip(axes.get_yticklabels(), bars, strict=True):
        label.set_color(OURS_COLOUR if ours else "#444444")
        label.set_fontweight("bold" if ours else "normal")
    axes.invert_yaxis()
    axes.set_xlim(0, limit * 1.12)
    axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
    quiet(axes, "x", "top", "right", "left")
    axes.tick_params(axis="y", length=0)

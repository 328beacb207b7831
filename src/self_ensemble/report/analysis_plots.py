"""Figures of finished results, as PNG and SVG: each reads at the width of a column of a paper.

    accuracy     every file with its interval
    difference   every file minus the baseline, with its interval (a forest plot)
    curve        accuracy over the number of wordings, with bands
    first_token  the first token of rules that were fused again over the number of wordings
    cost         seconds of a question against accuracy
    cost_tokens  tokens that a question sends through the model against accuracy
    agreement    which files answer alike
    by_KIND      every file on every kind of question

Each kind has a PNG and an SVG of the same name.
"""

from collections.abc import Callable, Sequence
from math import isfinite, isnan
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from self_ensemble.analysis.curve import ALL, ANY, VOTE, Curve
from self_ensemble.analysis.loaded import Loaded
from self_ensemble.analysis.score_rows import ScoreRow
from self_ensemble.analysis.score_table import ScoreTable
from self_ensemble.report.figure import BOXES, LETTERS, column_figure, save_figure
from self_ensemble.report.files import file_names
from self_ensemble.report.first_token_plot import first_token_figure
from self_ensemble.report.matrix_plots import agreement_figure, group_figure
from self_ensemble.report.plot_style import COLOURS, FAINT, INK, STRIP, label, plain
from self_ensemble.results.disk import check_writable
from self_ensemble.scoring.statistics import Estimate

_DPI = 200
# In inches.
_LINE, _FRAME = 0.2, 1.1
_CURVE_HEIGHT = 3.6
_LONG = 17  # letters
Cost = Literal["seconds", "tokens"]
_COST_AXIS = {
    "seconds": "seconds of a question, median and middle half;\n"
    "methods of one command share their time",
    "tokens": "tokens through the model for a question,\nmean and middle half of questions",
}


def write_plots(
    folder: Path,
    loaded: Sequence[Loaded],
    table: ScoreTable,
    kinds: Sequence[str] = (),
    *,
    say: Callable[[str], None],
) -> list[Path]:
    """Draw every figure of every data set and model.

    Args:
        folder: Where they go; with several data sets or models a folder for each is in it.
        loaded: The results.
        table: Their scores.
        kinds: Kinds of questions to draw apart.
        say: Prints a line, of letters that no font here has.

    Returns:
        The PNG files; beside each is an SVG of the same name.

    Raises:
        UserError: A file cannot be written.
    """
    written, is_whole = [], True
    for results in loaded:
        place = folder if len(loaded) == 1 else folder.joinpath(*results.place)
        check_writable(place, "--plot")
        rows = [row for row in table.rows if (row.dataset, row.model) == results.place]
        figures = _figures(results, rows, table, kinds)
        for name, stem in file_names(figures).items():
            written.append(place / f"{stem}.png")
            for path in (written[-1], written[-1].with_suffix(".svg")):
                is_whole &= save_figure(figures[name], path, _DPI)
    if not is_whole:
        say(BOXES)
    return written


def accuracy_figure(title: str, rows: Sequence[ScoreRow], confidence: float) -> Figure:
    """Draw the accuracy of every file, the best on top."""
    shown = sorted(rows, key=lambda row: row.accuracy.value)
    figure, axes = column_figure(_FRAME + _LINE * len(shown), f"Accuracy: {title}")
    _draw_estimates(axes, [row.file for row in shown], [row.accuracy for row in shown])
    axes.set_xlabel(f"accuracy, {100 * confidence:g} % interval", fontsize=LETTERS, color=FAINT)
    return figure


def difference_figure(title: str, rows: Sequence[ScoreRow], confidence: float) -> Figure:
    """Draw every file's difference to the baseline; filled where it is more than chance."""
    shown = sorted(
        (row for row in rows if row.difference is not None),
        key=lambda row: row.difference.value if row.difference else 0.0,
    )
    figure, axes = column_figure(_FRAME + _LINE * len(shown), f"Difference: {title}")
    axes.axvline(0, color=INK, linewidth=1)
    _draw_estimates(
        axes,
        [row.file for row in shown],
        [row.difference for row in shown if row.difference is not None],
        filled=[row.p_holm < 1 - confidence for row in shown],
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    baseline = shown[0].comparison.baseline if shown and shown[0].comparison else ""
    axes.set_xlabel(
        f"points of accuracy more than {label(baseline)}\n{100 * confidence:g} % intervals; "
        f"filled: p < {1 - confidence:.2g} (McNemar, Holm)",
        fontsize=LETTERS,
        color=FAINT,
        loc="right",
    )
    return figure


def curve_figure(title: str, curve: Curve, confidence: float) -> Figure:
    """Draw accuracy over the number of wordings: bands around votes and oracles, bars on runs."""
    figure, axes = column_figure(_CURVE_HEIGHT, f"Number of wordings: {title}")
    lines = {ANY: "--", VOTE: "-", ALL: ":"}
    runs = [name for name in dict.fromkeys(p.series for p in curve.points) if name not in lines]
    # As many runs as there are colours left; the attention-level method first.
    runs = sorted(runs, key=lambda name: name != "flex_attention")[: len(COLOURS) - 3]
    for place, name in enumerate((*lines, *runs)):
        points, colour = curve.series(name), COLOURS[place]
        if not points:
            continue
        number = np.array([point.num_wordings for point in points], dtype=float)
        value, low, high = (
            np.array([point.accuracy[end] for point in points]) for end in range(3)
        )
        if name in lines:
            # Dashes over the line, so that both are seen where they are one.
            above = 3 if name == ANY else 2
            axes.plot(
                number,
                value,
                lines[name],
                color=colour,
                linewidth=1.6,
                zorder=above,
                label=label(name),
            )
            axes.fill_between(number, low, high, color=colour, alpha=0.15, linewidth=0)
            continue
        # Beside one another, so that no bar hides another's.
        shift = 0.08 * (place - len(lines) - (len(runs) - 1) / 2)
        axes.errorbar(
            number + shift,
            value,
            yerr=np.nan_to_num([value - low, high - value]),
            fmt="osD^"[(place - len(lines)) % 4],
            color=colour,
            markersize=4,
            linewidth=1,
            capsize=2,
            label=label(name),
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(
        f"N, number of wordings; {100 * confidence:g} % intervals", fontsize=LETTERS, color=FAINT
    )
    axes.set_ylabel("accuracy", fontsize=LETTERS, color=FAINT)
    # Three names beside one another, as long as they are not longer than ours.
    num_columns = 3 if max(map(len, runs), default=0) < _LONG else 1
    figure.legend(
        loc="outside lower center", ncols=num_columns, fontsize=7.5, frameon=False, labelcolor=INK
    )
    return figure


def cost_figure(
    title: str, loaded: Loaded, rows: Sequence[ScoreRow], confidence: float, cost: Cost = "seconds"
) -> Figure:
    """Draw accuracy against what a question costs, each file named beside the axes.

    Args:
        title: Of the data set and model.
        loaded: Their results.
        rows: Scores of files; those whose cost is not known are left out.
        confidence: Coverage of the intervals.
        cost: "seconds", the median, or "tokens", the mean.
    """
    shown = sorted(
        (row for row in rows if isfinite(getattr(row, cost)) and isfinite(row.accuracy.value)),
        key=lambda row: row.accuracy.value,
    )
    figure, axes = column_figure(max(_CURVE_HEIGHT, _FRAME + 0.17 * len(shown)), f"Cost: {title}")
    plain(axes)
    ends = np.array([row.accuracy[:3] for row in shown])
    lowest, highest = float(np.nanmin(ends)), float(np.nanmax(ends))
    places = np.linspace(lowest, highest, len(shown)) if len(shown) > 1 else [lowest]
    for row, place in zip(shown, places, strict=True):
        quarter, three_quarters = np.quantile(_costs(loaded, row.file, cost), [0.25, 0.75])
        value, low, high, _ = row.accuracy
        middle = getattr(row, cost)
        axes.errorbar(
            middle,
            value,
            xerr=[[max(0.0, middle - quarter)], [max(0.0, three_quarters - middle)]],
            yerr=np.nan_to_num([[value - low], [high - value]]),
            fmt="o",
            color=COLOURS[0],
            ecolor=STRIP,
            markersize=4,
            linewidth=0.8,
        )
        axes.annotate(
            label(row.file),
            (middle, value),
            (1.03, place),
            textcoords=("axes fraction", "data"),
            fontsize=6.5,
            color=INK,
            va="center",
            arrowprops={"arrowstyle": "-", "color": STRIP, "linewidth": 0.6, "relpos": (0, 0.5)},
        )
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(_COST_AXIS[cost], fontsize=LETTERS, color=FAINT)
    axes.set_ylabel(f"accuracy, {100 * confidence:g} % interval", fontsize=LETTERS, color=FAINT)
    return figure


def _figures(
    loaded: Loaded, rows: Sequence[ScoreRow], table: ScoreTable, kinds: Sequence[str]
) -> dict[str, Figure]:
    """The figures that there is something to draw in."""
    title, confidence = loaded.title, table.confidence
    scored = [row for row in rows if not isnan(row.accuracy.value)]
    compared = [row for row in scored if row.difference and not isnan(row.difference.value)]
    curve = loaded.curve(table.cluster)
    made: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "accuracy": (bool(scored), lambda: accuracy_figure(title, scored, confidence)),
        "difference": (bool(compared), lambda: difference_figure(title, compared, confidence)),
        "curve": (bool(curve.points), lambda: curve_figure(title, curve, confidence)),
        "cost": (
            any(isfinite(row.seconds) for row in scored),
            lambda: cost_figure(title, loaded, scored, confidence),
        ),
        "cost_tokens": (
            any(not isnan(row.tokens) for row in scored),
            lambda: cost_figure(title, loaded, scored, confidence, "tokens"),
        ),
    }
    figures = {name: make() for name, (is_any, make) in made.items() if is_any}
    first_token = loaded.first_token_curve(cluster=table.cluster)
    if first_token is not None and first_token.points:
        figures["first_token"] = first_token_figure(title, first_token, confidence)
    if len(loaded.fused) > 1:
        figures["agreement"] = agreement_figure(title, loaded.agreement())
    for kind in kinds:
        of_kind = loaded.groups(kind, loaded.baseline(None))
        if of_kind:
            figures[f"by_{kind}"] = group_figure(title, kind, of_kind)
    return figures


def _draw_estimates(
    axes: Axes,
    names: Sequence[str],
    estimates: Sequence[Estimate],
    filled: Sequence[bool] | None = None,
) -> None:
    for place, estimate in enumerate(estimates):
        value, low, high, _ = estimate
        solid = filled is None or filled[place]
        axes.errorbar(
            value,
            place,
            xerr=np.nan_to_num([[value - low], [high - value]]),
            fmt="o",
            color=COLOURS[0],
            markerfacecolor=COLOURS[0] if solid else "white",
            markersize=4.5,
            linewidth=1.3,
            capsize=2.5,
        )
    axes.set_yticks(range(len(names)), map(label, names), fontsize=7.5, color=INK)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def _costs(loaded: Loaded, name: str, cost: Cost) -> list[float]:
    """What each question costs, all its wordings together."""
    found: dict[str, float] = {}
    for row in loaded.file(name).scores.rows:
        found[row.uuid] = found.get(row.uuid, 0.0) + getattr(row, cost)
    return [number for number in found.values() if isfinite(number)]

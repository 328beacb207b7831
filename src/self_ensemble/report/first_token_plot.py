"""The first token of logit-level rules over the number of wordings, as a figure."""

from math import isnan

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from self_ensemble.analysis.first_token import FirstTokenCurve
from self_ensemble.report.figure import LETTERS, column_figure
from self_ensemble.report.plot_style import COLOURS, FAINT, INK

_HEIGHT = 3.6  # inches


def first_token_figure(title: str, curve: FirstTokenCurve, confidence: float) -> Figure:
    """Draw a line for each rule; the width of the intervals is said, since they lie on another."""
    figure, axes = column_figure(_HEIGHT, f"First token: {title}")
    rules = list(dict.fromkeys(point.rule for point in curve.points))
    for place, rule in enumerate(rules):
        points = curve.series(rule)
        axes.plot(
            [point.num_wordings for point in points],
            [point.right.value for point in points],
            "-" if place % 2 == 0 else "--",
            color=COLOURS[place % len(COLOURS)],
            marker="osD^v*"[place % 6],
            markersize=3.5,
            linewidth=1.3,
            label=rule,
        )
    ends = [end for p in curve.points for end in (p.right.high - p.right.value,
                                                  p.right.value - p.right.low)]  # fmt: skip
    widest = max((end for end in ends if not isnan(end)), default=0.0)
    exact = min((point.exact for point in curve.points), default=1.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(
        f"N, number of wordings; {100 * confidence:g} % intervals up to {100 * widest:.0f} "
        f"points\nto either side; exact for at least {100 * exact:.1f} %",
        fontsize=LETTERS,
        color=FAINT,
    )
    axes.set_ylabel("first token begins an answer", fontsize=LETTERS, color=FAINT)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7.5, frameon=False, labelcolor=INK)
    return figure

"""The figure of the first token over the number of wordings has the points of its curve."""

from math import nan

import pytest

pytest.importorskip("matplotlib", reason="the extra plots is not installed")

from self_ensemble.analysis.first_token import FirstTokenCurve, FirstTokenPoint
from self_ensemble.report.first_token_plot import first_token_figure
from self_ensemble.scoring.statistics import Estimate


def curve(**shares: tuple[float, ...]) -> FirstTokenCurve:
    points = [
        FirstTokenPoint(rule, n, Estimate(value, value - 0.1, value + 0.2, 9), nan, nan, 1, 0.975)
        for rule, values in shares.items()
        for n, value in enumerate(values, start=1)
    ]
    return FirstTokenCurve("logprobs-2", tuple(points), 9, 0, nan)


def test_each_rule_is_a_line_through_its_points_and_the_widest_interval_is_told():
    figure = first_token_figure("t", curve(avg=(0.25, 0.5), gated=(0.25, 0.75)), 0.95)
    (axes,) = figure.axes
    drawn = {str(line.get_label()): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"avg": [[1, 0.25], [2, 0.5]], "gated": [[1, 0.25], [2, 0.75]]}
    legend = axes.get_xlabel()
    assert "95 % intervals up to 20 points" in legend
    assert "exact for at least 97.5 %" in legend


def test_one_question_without_an_interval_is_drawn():
    point = FirstTokenPoint("avg", 1, Estimate(1.0, nan, nan, 1), 1.0, 1.0, 1, 1.0)
    only = FirstTokenCurve("logprobs-1", (point,), 1, 0, nan)
    assert "up to 0 points" in first_token_figure("t", only, 0.95).axes[0].get_xlabel()

"""Tables of shares as pictures: accuracy by kind of question, and which methods answer alike."""

from collections.abc import Sequence
from math import isnan

import numpy as np
from matplotlib.figure import Figure

from self_ensemble.analysis.agreement import Agreement
from self_ensemble.analysis.groups import GroupRow
from self_ensemble.report.figure import COLUMN_WIDTH, LETTERS, column_figure
from self_ensemble.report.plot_style import FAINT, INK, label

_CELL, _FRAME = 0.34, 1.5  # inches
# Letters of a name that fit into the frame, and what every further one takes in both directions.
_SHORT, _LETTER = 16, 0.08
_DARK = 0.6  # of the scale, from where letters in a cell are white


def group_figure(title: str, kind: str, rows: Sequence[GroupRow]) -> Figure:
    """Draw the accuracy of every file on every kind of question.

    Args:
        title: Data set and model.
        kind: What the questions are grouped by.
        rows: Of one table, by kind and file.
    """
    groups = list(dict.fromkeys(row.group for row in rows))
    files = list(dict.fromkeys(row.file for row in rows))
    found = {(row.group, row.file): row.accuracy for row in rows}
    sizes = [max(found[group, file].n for file in files) for group in groups]
    return _matrix(
        f"By {kind}: {title}",
        [f"{group} ({size})" for group, size in zip(groups, sizes, strict=True)],
        files,
        [[found[group, file].value for file in files] for group in groups],
        "accuracy in percent; in brackets how many questions;\nintervals stand in the table",
    )


def agreement_figure(title: str, found: Agreement) -> Figure:
    """Draw how often every two files give the same answer, right or wrong."""
    names = found.names
    shares = [[share.value for share in row] for row in found.shares]
    legend = "questions that both answer with the same words, in percent"
    if not isnan(found.widest):
        legend += f";\nintervals up to {100 * found.widest:.0f} points to either side"
    return _matrix(f"Agreement: {title}", names, names, shares, legend)


def _matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    legend: str,
) -> Figure:
    """Draw shares, 0 to 1, as shades with their percentages; nan stays empty."""
    longest = max(len(label(name)) for name in (*rows, *columns))
    further = _LETTER * max(0, longest - _SHORT)
    width = max(COLUMN_WIDTH, _FRAME + _CELL * len(columns)) + further
    figure, axes = column_figure(_FRAME + 0.8 * _CELL * len(rows) + further, title, width)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    shares = np.array(values, dtype=float)
    axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not isnan(share):
            colour = "white" if share > _DARK else INK
            axes.text(column, row, f"{100 * share:.0f}", fontsize=7, color=colour,
                      ha="center", va="center")  # fmt: skip
    axes.set_yticks(range(len(rows)), map(label, rows), fontsize=7.5, color=INK)
    axes.set_xticks(
        range(len(columns)), map(label, columns), fontsize=7, color=INK, rotation=40, ha="right",
        rotation_mode="anchor",
    )  # fmt: skip
    axes.set_xlabel(legend, fontsize=LETTERS, color=FAINT, loc="right")
    return figure

"""The calibration table for the terminal, as CSV, Markdown and JSON: four forms of the same rows.

People read percentages and rounded scores (terminal, Markdown); machines get fractions in full
(CSV, JSON).
"""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.text import Text

from self_ensemble.report.cells import (
    decimal,
    decimal_interval,
    empty_if_unknown,
    none_if_unknown,
    number_table,
    number_table_markdown,
    percent,
)
from self_ensemble.scoring.calibration import Bins
from self_ensemble.scoring.calibration_table import COVERAGES, CalibrationRow, CalibrationTable
from self_ensemble.scoring.statistics import Estimate

_SHOWN_COVERAGE = 0.5
_MEASURES = (
    "accuracy",
    "mean_confidence",
    "ece",
    "brier",
    "auroc",
    "aurc",
    *(f"accuracy_at_{100 * coverage:g}" for coverage in COVERAGES),
)

CSV_COLUMNS = (
    "dataset",
    "model",
    "file",
    "estimator",
    "answers",
    "left_out",
    *(column for name in _MEASURES for column in (name, f"{name}_low", f"{name}_high")),
)


def calibration_view(table: CalibrationTable) -> RenderableType:
    """Draw the tables for a terminal of 100 columns or more, two per data set and model."""
    parts: list[RenderableType] = []
    for rows in _blocks(table):
        parts += [number_table(_title(rows), _header(table, rows), map(_cells, rows)), Text()]
    return Group(*parts, *(Text(line) for line in (*_legend(table), *table.notes)))


def markdown_text(table: CalibrationTable) -> str:
    """Write the tables as Markdown, two per data set and model."""
    lines: list[str] = []
    for rows in _blocks(table):
        lines += number_table_markdown(_title(rows), _header(table, rows), map(_cells, rows))
    lines += [f"- {sentence}" for sentence in (*_legend(table), *table.notes)]
    return "\n".join(lines) + "\n"


def csv_text(table: CalibrationTable) -> str:
    """Write all rows as one CSV table of fractions; an unknown number is an empty field.

    Rows without an `estimator` are result files.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in table.rows:
        writer.writerow(empty_if_unknown(_values(row)))
    return text.getvalue()


def json_document(table: CalibrationTable) -> dict[str, object]:
    """Put the table and its bins into what `json.dumps` takes; an unknown number is None."""
    return {
        "num_bins": table.num_bins,
        "confidence": table.confidence,
        "lemmatiser": table.lemmatiser,
        "files": [
            dict(zip(CSV_COLUMNS, none_if_unknown(_values(row)), strict=True))
            | {"bins": _bin_records(row.bins)}
            for row in table.rows
        ],
        "notes": list(table.notes),
    }


def _blocks(table: CalibrationTable) -> list[list[CalibrationRow]]:
    """The rows of each table: estimators, then result files, of every data set and model."""
    return [
        list(rows)
        for _, rows in groupby(
            table.rows, key=lambda row: (row.dataset, row.model, row.estimator is None)
        )
    ]


def _title(rows: Sequence[CalibrationRow]) -> str:
    first = rows[0]
    kind = "result files" if first.estimator is None else "estimators, each wording alone"
    return f"{first.dataset} / {first.model}, {kind}"


def _header(table: CalibrationTable, rows: Sequence[CalibrationRow]) -> list[str]:
    return [
        "file" if rows[0].estimator is None else "estimator",
        "answers",
        "left\nout",
        "accuracy",
        "mean\nconfidence",
        "ECE",
        "Brier",
        f"AUROC\n[{100 * table.confidence:g} %]",
        "AURC",
        f"accuracy\nat {100 * _SHOWN_COVERAGE:g} %",
    ]


def _cells(row: CalibrationRow) -> list[str]:
    return [
        row.name,
        str(row.num_answers),
        str(row.num_left_out),
        percent(row.accuracy.value),
        percent(row.mean_confidence.value),
        percent(row.ece.value),
        decimal(row.brier.value),
        decimal_interval(row.auroc),
        decimal(row.aurc.value),
        percent(row.accuracy_at[COVERAGES.index(_SHOWN_COVERAGE)].value),
    ]


def _legend(table: CalibrationTable) -> Iterator[str]:
    yield (
        "Answers: with a confidence; error rows and answers without one are left out. Accuracy "
        f"(lemma-level partial match, {table.lemmatiser}) and mean confidence in percent: equal "
        "is good, a larger confidence is overconfident."
    )
    yield (
        f"ECE: expected calibration error in percent, {table.num_bins} bins; mean distance of "
        "confidence and accuracy. Lower is better, 0 is best."
    )
    yield (
        "Brier: mean squared distance of confidence and 1 (right) or 0 (wrong). Lower is better, "
        "0 is best, always saying 50 % gives 0.25."
    )
    yield (
        "AUROC: how often a right answer is surer than a wrong one. Higher is better, 1 is best, "
        "0.5 is chance. Interval: bootstrap over questions."
    )
    yield (
        "AURC: mean error rate over all coverages, the surest answers first. Lower is better; a "
        "confidence that says nothing gives the error rate."
    )
    yield (
        f"Accuracy at {100 * _SHOWN_COVERAGE:g} %: in percent, of the surer half of the answers. "
        "Higher is better."
    )
    if any(row.estimator is None for row in table.rows):
        yield (
            "Confidence of a result file's answer: exp of the mean log-probability of its tokens."
        )


def _values(row: CalibrationRow) -> list[object]:
    estimates: tuple[Estimate, ...] = (
        row.accuracy,
        row.mean_confidence,
        row.ece,
        row.brier,
        row.auroc,
        row.aurc,
        *row.accuracy_at,
    )
    return [
        row.dataset,
        row.model,
        row.file,
        row.estimator,
        row.num_answers,
        row.num_left_out,
        *(number for estimate in estimates for number in estimate[:3]),
    ]


def _bin_records(bins: Bins) -> list[dict[str, object]]:
    names = ("from", "to", "answers", "accuracy", "mean_confidence")
    columns = (
        bins.edges[:-1].tolist(),
        bins.edges[1:].tolist(),
        bins.num_answers.astype(int).tolist(),
        bins.accuracy.tolist(),
        bins.confidence.tolist(),
    )
    return [
        dict(zip(names, none_if_unknown(values), strict=True))
        for values in zip(*columns, strict=True)
    ]

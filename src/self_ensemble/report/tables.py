"""The score table for the terminal, as Markdown, LaTeX, CSV and JSON: five forms of the same rows.

People read percentages with one decimal (the first three); machines get fractions in full.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import groupby
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.text import Text

from self_ensemble.analysis.score_rows import ScoreRow
from self_ensemble.analysis.score_table import ScoreTable
from self_ensemble.report.cells import (
    LATEX_NEEDS,
    MISSING,
    empty_if_unknown,
    none_if_unknown,
    number_table,
    number_table_latex,
    number_table_markdown,
    p_cell,
    percent,
    percent_interval,
    seconds_cell,
    tokens_cell,
)

CSV_COLUMNS = (
    "dataset",
    "model",
    "file",
    "paraphrase_index",
    "scored",
    "errors",
    "no_answer",
    "denied",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "exact_match",
    "lenient",
    "token_f1",
    "median_seconds",
    "mean_tokens",
    "difference",
    "difference_low",
    "difference_high",
    "difference_pairs",
    "answer_tokens",
    "mcnemar_p",
    "mcnemar_p_holm",
    "detectable_difference",
    "gained",
    "lost",
    "new",
)


def score_view(table: ScoreTable) -> RenderableType:
    """Draw the tables for a terminal of 100 columns or more, one per data set and model."""
    parts: list[RenderableType] = []
    for rows in _blocks(table):
        parts += [number_table(_title(rows), _header(table, rows), map(_cells, rows)), Text()]
    return Group(*parts, *(Text(line) for line in (*_legend(table), *table.notes)))


def markdown_text(table: ScoreTable) -> str:
    """Write the tables as Markdown, one per data set and model."""
    lines: list[str] = []
    for rows in _blocks(table):
        lines += number_table_markdown(_title(rows), _header(table, rows), map(_cells, rows))
    for sentence in (*_legend(table), *table.notes):
        lines += [sentence, ""]
    return "\n".join(lines[:-1]) + "\n"


def latex_text(table: ScoreTable) -> str:
    """Write the tables for LaTeX with booktabs, one per data set and model."""
    lines = [LATEX_NEEDS, ""]
    notes = " ".join((*_legend(table), *table.notes))
    for rows in _blocks(table):
        lines += number_table_latex(_title(rows), _header(table, rows), map(_cells, rows))
    return "\n".join([*lines, *(f"% {line}" for line in wrap(notes, 96)), ""])


def csv_text(table: ScoreTable) -> str:
    """Write all rows as one CSV table of fractions; an unknown number is an empty field.

    Rows with a `paraphrase_index` are the single wordings of a `per_prompt` file; the rows
    without are whole files.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in (*table.rows, *table.wordings):
        writer.writerow(empty_if_unknown(_values(row)))
    return text.getvalue()


def json_document(table: ScoreTable) -> dict[str, object]:
    """Put the table into what `json.dumps` takes; an unknown number is None."""
    return {
        "baseline": table.baseline,
        "confidence": table.confidence,
        "lemmatiser": table.lemmatiser,
        "files": [_record(row) for row in table.rows],
        "wordings": [_record(row) for row in table.wordings],
        "notes": list(table.notes),
    }


def _blocks(table: ScoreTable) -> list[list[ScoreRow]]:
    """The rows of each table: files, then wordings, by data set and model."""
    return [
        list(rows)
        for part in (table.rows, table.wordings)
        for _, rows in groupby(part, key=lambda row: (row.dataset, row.model))
    ]


def _title(rows: Sequence[ScoreRow]) -> str:
    first = rows[0]
    title = f"{first.dataset} / {first.model}"
    return title if first.paraphrase_index is None else f"{title}, each wording alone"


def _header(table: ScoreTable, rows: Sequence[ScoreRow]) -> list[str]:
    interval = f"[{100 * table.confidence:g} %]"
    return [
        "file" if rows[0].paraphrase_index is None else "wording",
        "scored",
        "errors\n/empty",
        f"accuracy\n{interval}",
        "strict",
        "lenient",
        "F1",
        "median\ns",
        "tokens",
        f"difference\n{interval}",
        "p",
    ]


def _cells(row: ScoreRow) -> list[str]:
    return [
        row.name,
        str(row.num_scored),
        f"{row.num_errors}/{row.num_no_answer}",
        percent_interval(row.accuracy),
        percent(row.exact_match),
        percent(row.lenient),
        percent(row.token_f1),
        seconds_cell(row.seconds),
        tokens_cell(row.tokens),
        MISSING if row.difference is None else percent_interval(row.difference, signed=True),
        p_cell(row.p_holm),
    ]


def _legend(table: ScoreTable) -> Iterable[str]:
    resampled = "questions" if table.cluster is None else f"groups of equal {table.cluster}"
    yield (
        f"Accuracy (lemma-level partial match, {table.lemmatiser}), strict (exact match), lenient "
        "(spelling, numbers, dates and abbreviations made one) and token F1 in percent. An empty "
        "answer counts as not correct; an error row is not scored. Intervals: bootstrap over "
        f"{resampled}. Median s: seconds of a question, all its wordings together; methods of one "
        "command are decoded together, and each shows the time of all of them. Tokens: what a "
        "question sends through the model by this method alone, prompts and answers, behind the "
        "run's prefix; the mean."
    )
    if table.baseline:
        yield (
            f"Difference: accuracy minus that of {table.baseline}, paired by question, in "
            "percentage points. p: McNemar's exact test, Holm-corrected over the table."
        )
    if table.wordings:
        yield (
            "per_prompt: mean over its wordings, which are numbered from 0; its errors and empty "
            "answers are counted by wording. A wording's tokens are those that it adds to the "
            "wordings before it."
        )


def _values(row: ScoreRow) -> list[object]:
    difference: Sequence[object] = row.difference or (None, None, None, None)
    return [
        row.dataset,
        row.model,
        row.file,
        row.paraphrase_index,
        row.num_scored,
        row.num_errors,
        row.num_no_answer,
        row.num_denied,
        *row.accuracy[:3],
        row.exact_match,
        row.lenient,
        row.token_f1,
        row.seconds,
        row.tokens,
        *difference,
        row.answer_tokens,
        *_compared(row),
    ]


def _compared(row: ScoreRow) -> list[object]:
    compared = row.comparison
    if compared is None:
        return [None] * 6
    new = None if compared.new is None else len(compared.new)
    counts = [len(compared.gained), len(compared.lost), new]
    return [compared.p_value, row.p_holm, compared.detectable, *counts]


def _record(row: ScoreRow) -> dict[str, object]:
    return dict(zip(CSV_COLUMNS, none_if_unknown(_values(row)), strict=True))

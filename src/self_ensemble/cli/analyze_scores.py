"""The heavy half of `self-ensemble analyze`, imported when it runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import typer
from rich.console import Group

from self_ensemble.analysis.across import across
from self_ensemble.analysis.changed import ChangedAnswer
from self_ensemble.analysis.groups import MADE
from self_ensemble.analysis.loaded import DEFAULT_BASELINE, Judging, Loaded
from self_ensemble.analysis.score_table import ScoreTable, score_table
from self_ensemble.cli.analyze_outputs import Choice, Outputs, show, write_tables
from self_ensemble.cli.console import ConsoleProgress
from self_ensemble.errors import unknown_name
from self_ensemble.jobs.analyze import load_results
from self_ensemble.questions.load import DATASETS
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.report.analysis_sheets import (
    across_sheets,
    comparison_sheet,
    curve_sheet,
    first_token_sheets,
    group_sheet,
    robustness_sheets,
)
from self_ensemble.report.can_draw import check_can_draw
from self_ensemble.report.changed_view import changed_view
from self_ensemble.report.files import file_names, write_file
from self_ensemble.report.sheet import (
    Sheet,
    sheet_csv,
    sheet_records,
    sheets_latex,
    sheets_markdown,
    sheets_view,
)
from self_ensemble.report.tables import (
    csv_text,
    json_document,
    latex_text,
    markdown_text,
    score_view,
)

SECTIONS = ("comparison", "curve", "robustness")


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown beside the scores.

    Attributes:
        baseline: File that the others are compared with; None for the default.
        cluster: Column whose values are resampled whole; None for none.
        sections: Names of tables, of `SECTIONS`.
        kinds: Kinds of questions to score apart.
        rows: Kind of questions to print with all answers; None for none.
        file: The only file of which they are printed; None for all.
        plot: Folder for figures; None for none.
    """

    baseline: str | None
    cluster: str | None
    sections: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: str | None
    file: str | None
    plot: Path | None


def analyze_scores(choice: Choice, shown: Shown, outputs: Outputs) -> None:
    """Load the results, show what was asked for, and write it."""
    if shown.plot is not None:
        check_can_draw("--plot")
    loaded = load_results(
        choice.dataset,
        choice.model,
        output_dir=choice.output_dir,
        judging=Judging(choice.lemmatiser, choice.words, choice.confidence),
        questions=_questions(choice, shown),
        progress=ConsoleProgress(),
    )
    table = score_table(loaded, baseline=shown.baseline, cluster=shown.cluster)
    if shown.rows is not None:
        _show_rows(shown.rows, _changed(loaded, shown), outputs)
        return
    sheets = _sheets(loaded, table, shown)
    write_tables(
        outputs,
        csv_text(table),
        "\n".join(filter(None, (markdown_text(table), sheets_markdown(sheets)))),
        "\n".join(filter(None, (latex_text(table), sheets_latex(sheets)))),
    )
    lines = _write_csv(outputs.csv_file, sheets)
    if shown.plot is not None:
        from self_ensemble.report.analysis_plots import write_plots

        plots = write_plots(shown.plot, loaded, table, shown.kinds, say=ConsoleProgress().warn)
        lines += [f"Plot: {path}" for path in plots]
    document = json_document(table)
    if sheets:
        document["sections"] = [
            {"key": sheet.key, "title": sheet.title, "rows": sheet_records(sheet)}
            for sheet in sheets
        ]
    show(outputs, Group(score_view(table), *([sheets_view(sheets)] if sheets else [])), document)
    for line in lines:
        typer.echo(line, err=outputs.as_json)


def _questions(choice: Choice, shown: Shown) -> QuestionSet | None:
    """The questions, for their columns: of the user's own, or of a set that lies at --data.

    A set of the hub is not fetched for that.
    """
    if choice.questions is None:
        return None
    wants_column = shown.cluster is not None or set(shown.kinds) - set(MADE)
    name = choice.questions.dataset
    if choice.must_read or (wants_column and name not in DATASETS and Path(name).exists()):
        return choice.questions.load()
    return None


def _sheets(loaded: Sequence[Loaded], table: ScoreTable, shown: Shown) -> list[Sheet]:
    sheets: list[Sheet] = []
    rows_of = {
        place: list(rows)
        for place, rows in groupby(table.rows, key=lambda row: (row.dataset, row.model))
    }
    for folder in loaded:
        here = table.baseline if table.baseline in folder.files else None
        if "comparison" in shown.sections and here is not None:
            sheets.append(comparison_sheet(folder, rows_of[folder.place]))
        if "curve" in shown.sections:
            sheets.append(curve_sheet(folder, shown.cluster))
            sheets += first_token_sheets(folder, shown.cluster)
        if "robustness" in shown.sections:
            sheets += robustness_sheets(folder, shown.cluster)
        sheets += [group_sheet(folder, kind, here) for kind in shown.kinds]
    if len(loaded) > 1:
        sheets += across_sheets(across(loaded, table.baseline or DEFAULT_BASELINE, shown.cluster))
    return [sheet for sheet in sheets if sheet.rows]


def _write_csv(path: Path | None, sheets: Sequence[Sheet]) -> list[str]:
    """Write the sheets beside the scores, one file a kind; returns the lines that say where."""
    lines: list[str] = []
    if path is None:
        return lines
    for key, name in file_names(sheet.key for sheet in sheets).items():
        beside = path.with_name(f"{path.stem}.{name}{path.suffix}")
        write_file(beside, sheet_csv([sheet for sheet in sheets if sheet.key == key]))
        lines.append(f"Table: {beside}")
    return lines


def _changed(loaded: Sequence[Loaded], shown: Shown) -> list[ChangedAnswer]:
    assert shown.rows is not None
    known = {name for folder in loaded for name in folder.files}
    if shown.file is not None and shown.file not in known:
        raise unknown_name("result file", shown.file, known)
    found: list[ChangedAnswer] = []
    for folder in loaded:
        baseline = folder.baseline(shown.baseline)
        if shown.file is not None:
            names = [shown.file] if shown.file in folder.files else []
        else:
            names = [name for name in folder.fused if name != baseline]
        for name in names:
            found += folder.changed(shown.rows, name, shown.baseline)
    return found


def _show_rows(kind: str, found: Sequence[ChangedAnswer], outputs: Outputs) -> None:
    document: dict[str, object] = {"kind": kind, "rows": [asdict(one) for one in found]}
    show(outputs, changed_view(kind, found), document)

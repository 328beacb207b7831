"""What replayed rules take, as a table and as a JSON document."""

from collections.abc import Iterator
from math import isfinite

from rich.console import Group, RenderableType
from rich.text import Text

from self_ensemble.jobs.replay import ReplayTable
from self_ensemble.report.cells import MISSING, number_table, percent

HEADER = ("rule", "questions", "first token right", "exact", "rest", "close", "errors")


def replay_view(table: ReplayTable) -> RenderableType:
    """Draw a line for each rule, and what its numbers are."""
    wordings = ", ".join(map(str, table.indices))
    lines = (
        "First token right: in percent, an accepted answer begins with it. Exact: in percent, a "
        "run over the whole vocabulary takes the same.",
        f"Not exact: tokens that were not kept could be likelier (rest), or what decides is "
        f"closer than {table.tolerance:g} (close).",
    )
    rows = [_cells(table, rule) for rule in table.rows]
    title = f"{table.path.name}, wordings {wordings}"
    return Group(number_table(title, HEADER, rows), Text(), *map(Text, lines))


def replay_rows(table: ReplayTable) -> Iterator[dict[str, object]]:
    """What each rule takes for each question, a line each."""
    for rule, rows in table.rows.items():
        for row in rows:
            answers = [
                dict(zip(one._fields, map(_finite, one), strict=True)) for one in row.answers
            ]
            yield {"rule": rule} | row._asdict() | {"answers": answers}


def replay_document(table: ReplayTable) -> dict[str, object]:
    """The counts of each rule."""
    return {
        "file": str(table.path),
        "indices": table.indices,
        "tolerance": table.tolerance,
        "rules": {
            rule: {
                "questions": table.num_replayed(rule),
                "first_token_right": table.num_right(rule),
                **table.counts(rule),
            }
            for rule in table.rows
        },
    }


def _cells(table: ReplayTable, rule: str) -> tuple[str, ...]:
    counts, num = table.counts(rule), table.num_replayed(rule)
    right = percent(table.num_right(rule) / num) if num else MISSING
    exact = percent(counts["exact"] / num) if num else MISSING
    others = (str(counts["rest"]), str(counts["close"]), str(counts["error"]))
    return (rule, str(num), right, exact, *others)


def _finite(number: float) -> float | None:
    """A number as JSON has it: what a wording rules out has no log-probability."""
    return number if isfinite(number) else None

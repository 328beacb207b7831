"""What the benchmark's tables show."""

from dataclasses import fields
from math import nan

import pytest

from benchmarks.summary import Row, Spread
from benchmarks.view import rows_markdown


def row(**given: object) -> Row:
    """A row of ones."""
    kinds = {"name": "flex_attention", "is_ours": True}
    values = {
        field.name: Spread(1.0, 1.0, 1.0) if field.type in (Spread, "Spread") else 1.0
        for field in fields(Row)
    }
    return Row(**values | kinds | given)


@pytest.mark.parametrize(
    ("median", "shown"), [(12.34, "12.3"), (1234.5, "1,234"), (nan, "-"), (-16.3, "-"), (0.0, "-")]
)
def test_steps_that_noise_makes_free_have_no_time(median, shown):
    lines = rows_markdown([row(step_ms=Spread(median, median, median))]).splitlines()
    columns = [cell.strip() for cell in lines[0].split("|")]
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert dict(zip(columns, cells, strict=True))["step ms"] == shown

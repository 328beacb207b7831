"""Results of earlier versions, which lack a column that rows have now."""

import pandas as pd
import pytest
from result_rows import (
    MANIFEST,
    append,
    interrupted,
    open_per_prompt,
    open_result,
    per_prompt_rows,
    result_row,
    write_result,
)

from self_ensemble.errors import UserError
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.schema import (
    PER_PROMPT_SCHEMA,
    RESULT_SCHEMA,
    earlier,
    rows_to_table,
)
from self_ensemble.results.shards import write_shard
from self_ensemble.results.store import ResultFile


def write_earlier(path, rows, uuids):
    """Write rows as an earlier version did, and finish where these are all."""
    alone = "paraphrase" in rows[0]
    schema = earlier(PER_PROMPT_SCHEMA if alone else RESULT_SCHEMA)
    plan = RowPlan(schema, uuids, (0, 1) if alone else None)
    with ResultFile.open(path, MANIFEST, plan) as result:
        result.append(
            rows_to_table([{name: row[name] for name in schema.names} for row in rows], schema)
        )
        if result.done == set(uuids):
            result.finish()


def test_a_column_that_came_later_is_the_only_difference():
    for schema in (RESULT_SCHEMA, PER_PROMPT_SCHEMA):
        assert set(schema.names) - set(earlier(schema).names) == {"tokens"}


def test_a_finished_result_without_the_column_is_finished(path):
    write_earlier(path, [result_row("a")], uuids=("a",))
    assert "tokens" not in pd.read_feather(path)
    with open_result(path, uuids=("a",)) as result:
        assert result.finished
    assert "tokens" not in pd.read_feather(path)


def test_a_run_goes_on_as_it_was_begun_and_no_row_is_lost(path):
    uuids = ("a", "b", "c")
    write_earlier(path, [result_row("b")], uuids=uuids)
    with open_result(path, uuids=uuids) as result:
        assert result.done == {"b"}
        append(result, [result_row("a")])
    with open_result(path, uuids=uuids) as result:
        assert result.done == {"a", "b"}
        append(result, [result_row("c")])
        result.finish()
    frame = pd.read_feather(path)
    assert list(frame["uuid"]) == ["a", "b", "c"]
    # Not in some of the rows: a mean over those would look like one over all.
    assert list(frame.columns) == earlier(RESULT_SCHEMA).names


def test_so_does_a_run_of_wordings(path):
    write_earlier(path, per_prompt_rows("a"), uuids=("a", "b"))
    with open_per_prompt(path) as result:
        append(result, per_prompt_rows("b"))
        result.finish()
    assert list(pd.read_feather(path).columns) == earlier(PER_PROMPT_SCHEMA).names


def test_a_new_run_has_the_column(path):
    write_result(path, ["a"])
    assert list(pd.read_feather(path)["tokens"]) == [30]


def test_other_columns_are_refused_as_ever(path):
    run = interrupted(path, ["a"])
    table = rows_to_table([result_row("b")], RESULT_SCHEMA)
    write_shard(run, 1, table.drop_columns(["tokens", "seconds"]), MANIFEST.digest())
    with pytest.raises(UserError, match=r"shard-00001\.feather .* has other columns"):
        open_result(path)

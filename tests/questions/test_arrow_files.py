"""Values of Parquet, Feather and Arrow files."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import datasets
import numpy as np
import pyarrow as pa
import pytest
from loading import load
from pyarrow import feather, parquet

from self_ensemble.errors import UserError


def test_values_of_every_arrow_type_become_answers(tmp_path: Path) -> None:
    noon = datetime(2020, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    columns: list[tuple[pa.Array, tuple[str, ...]]] = [
        (pa.array([1945], pa.int16()), ("1945",)),
        (pa.array([0.1], pa.float32()), ("0.1",)),
        (pa.array([1945.0]), ("1945",)),
        (pa.array([Decimal("1.50")]), ("1.50",)),
        (pa.array([True]), ("yes", "true")),
        (pa.array([date(1971, 9, 18)]), ("1971-09-18",)),
        (
            pa.array([4_000_000], pa.int32()).cast(pa.date32()),
            (str(np.datetime64(4_000_000, "D")),),
        ),
        (pa.array([datetime(1971, 9, 18)], pa.timestamp("ns")), ("1971-09-18",)),
        (pa.array([noon], pa.timestamp("ns", tz="Europe/Berlin")), ("2020-01-01 12:00:00+0100",)),
        (pa.array([[date(1971, 9, 18)]]), ("1971-09-18",)),
        (pa.array(["a"], pa.large_string()), ("a",)),
        (pa.array(["a"]).dictionary_encode(), ("a",)),
        (pa.array([b"caf\xc3\xa9"]), ("caf\u00e9",)),
        (pa.array([["a", None, "b"]]), ("a", "b")),
        (pa.array([[{"text": "a"}, {"text": "b"}]]), ("a", "b")),
        (pa.array([None], pa.null()), ()),
        (pa.array([float("nan")]), ()),
    ]
    for number, (column, answers) in enumerate(columns):
        table = pa.table({"question": ["q"], "answers": column})
        for path, write in ((tmp_path / f"{number}.parquet", parquet.write_table),
                            (tmp_path / f"{number}.feather", feather.write_feather)):  # fmt: skip
            write(table, path)
            assert load(path)[0].answers == answers, column.type


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**40], pa.int64()).cast(pa.timestamp("s", tz="Nowhere/Land")),
        pa.array([2**62], pa.int64()).cast(pa.timestamp("s")),
        pa.array([b"\xff"]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    ],
    ids=lambda column: str(column.type),
)
def test_an_arrow_value_without_a_text_matters_only_where_it_is_used(
    tmp_path: Path, column: pa.Array
) -> None:
    path = tmp_path / "m.feather"
    feather.write_feather(pa.table({"question": ["q"], "answers": ["a"], "x": column}), path)
    assert load(path)[0].answers == ("a",)
    with pytest.raises(UserError, match=r"m\.feather row 1: 'x' is "):
        load(path, columns="answers=x")


def test_the_numbers_of_classes_are_read_by_their_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"question": ["a?", "b?", "c?"], "answer": [1, 0, -1]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "m.parquet")
    for path in (tmp_path / "saved", tmp_path / "m.parquet"):
        assert [q.answers for q in load(path)] == [("yes",), ("no",), ()]


def test_metadata_that_cannot_be_read_has_no_names_of_classes(tmp_path: Path) -> None:
    table = pa.table({"question": ["q"], "answers": ["a"]})
    for metadata in (b"[" * 100_000, b"{", b"[]", b'{"info": {"features": []}}', b"\xff"):
        feather.write_feather(
            table.replace_schema_metadata({b"huggingface": metadata}), tmp_path / "m.feather"
        )
        assert load(tmp_path / "m.feather")[0].answers == ("a",)

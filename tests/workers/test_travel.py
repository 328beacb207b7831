"""Questions and rows come out of their bytes as they went in."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.jobs.workers.travel import (
    pack_questions,
    pack_rows,
    unpack_questions,
    unpack_rows,
)
from self_ensemble.questions.schema import Question
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.making import BatchRows, FileRows, Order

TEXT = st.text(max_size=20)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
QUESTIONS = st.builds(
    Question, TEXT, TEXTS, TEXTS, TEXTS, st.dictionaries(TEXT, st.none() | TEXT | st.floats())
)
SCHEMA = pa.schema([("uuid", pa.string()), ("scores", pa.list_(pa.float64()))])


@given(st.lists(QUESTIONS, max_size=5))
def test_questions(questions: list[Question]) -> None:
    order = Order(("avg", "vote"), {"a": (0.25, 0.75)}, None)
    found, asked = unpack_questions(pack_questions(questions, order))
    # By what they look like: nan is not equal to itself.
    assert repr(found) == repr(questions)
    assert asked == order


@given(st.lists(st.tuples(TEXT, st.lists(st.floats() | st.none(), max_size=3)), max_size=5))
def test_rows(rows: list[tuple[str, list[float | None]]]) -> None:
    table = pa.table([list(column) for column in zip(*rows, strict=True)] or [[], []], SCHEMA)
    made = BatchRows({"avg": FileRows(table, {"q": "nan"})}, BatchProgress(5, 1, 0.5))
    found, counters = unpack_rows(pack_rows(made, {"tokens": 7}))
    assert repr(found.files["avg"].table.to_pylist()) == repr(table.to_pylist())
    assert found.files["avg"].table.schema == SCHEMA
    assert (found.files["avg"].not_finite, found.progress) == ({"q": "nan"}, made.progress)
    assert counters == {"tokens": 7}

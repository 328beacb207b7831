"""What wordings that a run writes depend on, and which files are files of wordings."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question
from self_ensemble.results.disk import write_table
from self_ensemble.wordings.output import asked_sha256, read_rows

QUESTIONS = tuple(
    Question(f"q{n}", (f"Who built bridge {n}?", f"Bridge {n} was built by whom?"), ("x",))
    for n in range(7)
)


def test_the_wordings_of_people_count_where_they_are_taken() -> None:
    without = tuple(Question(q.uuid, q.wordings[:1], q.answers) for q in QUESTIONS)

    assert asked_sha256(QUESTIONS, human=False) == asked_sha256(without, human=False)
    assert asked_sha256(QUESTIONS, human=True) != asked_sha256(without, human=True)


def test_another_kind_of_table_is_no_file_of_wordings(tmp_path: Path) -> None:
    ours, foreign = tmp_path / "ours.feather", tmp_path / "foreign.feather"
    write_table(ours, pa.table({"uuid": ["a"]}), {})
    feather.write_feather(pa.table({"uuid": ["a"]}), foreign)
    with pytest.raises(UserError, match="is no file of wordings"):
        read_rows(ours)
    with pytest.raises(UserError, match="has no checksum"):
        read_rows(foreign)

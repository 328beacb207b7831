"""What wordings that a run writes depend on, and which files are files of wordings."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.disk import write_table
from self_ensemble.wordings.run import read_rows, wordings_manifest

QUESTIONS = tuple(
    Question(f"q{n}", (f"Who built bridge {n}?", f"Bridge {n} was built by whom?"), ("x",))
    for n in range(7)
)
QUESTION_SET = QuestionSet("bridges", QUESTIONS, (), "")


def test_the_wordings_of_people_count_where_they_are_taken() -> None:
    without = QuestionSet(
        "bridges", tuple(Question(q.uuid, q.wordings[:1], q.answers) for q in QUESTIONS), (), ""
    )

    def sha256(question_set: QuestionSet, *, human: bool) -> object:
        fields = wordings_manifest(question_set, None, None, {}, human=human).fields
        return fields["questions_sha256"]

    assert sha256(QUESTION_SET, human=False) == sha256(without, human=False)
    assert sha256(QUESTION_SET, human=True) != sha256(without, human=True)


def test_another_kind_of_table_is_no_file_of_wordings(tmp_path: Path) -> None:
    ours, foreign = tmp_path / "ours.feather", tmp_path / "foreign.feather"
    write_table(ours, pa.table({"uuid": ["a"]}), {})
    feather.write_feather(pa.table({"uuid": ["a"]}), foreign)
    with pytest.raises(UserError, match="is no file of wordings"):
        read_rows(ours)
    with pytest.raises(UserError, match="has no checksum"):
        read_rows(foreign)

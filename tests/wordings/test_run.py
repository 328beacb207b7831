"""A run over questions: what is done again, and what is left out."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.wordings.draw import human_pools
from self_ensemble.wordings.pool import Pool
from self_ensemble.wordings.run import Output, read_rows, run_wordings, wordings_manifest

QUESTIONS = tuple(
    Question(f"q{n}", (f"Who built bridge {n}?", f"Bridge {n} was built by whom?"), ("x",))
    for n in range(7)
)
QUESTION_SET = QuestionSet("bridges", QUESTIONS, (), "")
MANIFEST = wordings_manifest(QUESTION_SET, None, None, {}, human=True)


def run(path: Path, batch_size: int, fail_at: int | None = None) -> list[str]:
    """Write the wordings; the questions that pools were made for."""
    asked: list[str] = []

    def make_pools(batch: Sequence[Question]) -> list[Pool]:
        asked.extend(question.uuid for question in batch)
        if fail_at is not None and len(asked) > fail_at:
            raise UserError("stopped")
        return human_pools(batch, None)

    with Output.of(path).open(MANIFEST, overwrite=False) as file:
        run_wordings(
            QUESTIONS, make_pools, file, None,
            batch_size=batch_size, may_shrink=False, on_batch=lambda progress: None,
        )  # fmt: skip
    return asked


def test_a_run_that_goes_on_does_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "w.feather"
    with pytest.raises(UserError, match="stopped"):
        run(path, 2, fail_at=4)
    assert run(path, 3) == ["q4", "q5", "q6"]
    assert [row["uuid"] for row in read_rows(path)] == [f"q{n}" for n in range(7)]


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
    feather.write_feather(pa.table({"uuid": ["a"]}), tmp_path / "t.feather")
    with pytest.raises(UserError, match="is no file of wordings"):
        read_rows(tmp_path / "t.feather")

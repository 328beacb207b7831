"""WebQuestions from a folder and from rows as the hub has them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from self_ensemble.errors import UserError
from self_ensemble.questions import QuestionSet, hub, webquestions
from self_ensemble.questions.load import load_questions

Writer = Callable[[str, Iterable[object]], Path]


def rows(side: str, count: int) -> list[dict[str, object]]:
    return [
        {"id": f"{side}{i}", "question": f"{side} question {i}?", "answers": [f"a{i}", "b"]}
        for i in range(count)
    ]


@pytest.fixture
def folder(tmp_path: Path, write_jsonl: Writer) -> Path:
    write_jsonl("data/webquestions/train.jsonl", rows("train", 20))
    write_jsonl("data/webquestions/test.jsonl", rows("test", 6))
    return tmp_path / "data"


def load(folder: Path, **options: int) -> QuestionSet:
    return load_questions("webqa", data_dir=folder, **options)


def test_examples_come_from_the_training_side_and_questions_from_the_test_side(
    folder: Path,
) -> None:
    loaded = load(folder)
    assert [q.uuid for q in loaded.questions] == [f"test{i}" for i in range(6)]
    assert loaded.questions[2].wordings == ("test question 2?",)
    assert len({shot.wording for shot in loaded.shots}) == 5
    assert all(shot.wording.startswith("train question") for shot in loaded.shots)
    assert (loaded.name, loaded.max_new_tokens, loaded.stop) == ("webqa", 20, ("\n",))


def test_the_folder_itself_may_be_given(folder: Path) -> None:
    assert load(folder / "webquestions") == load(folder)


def test_examples_depend_on_the_seed_and_not_on_the_number_of_samples(folder: Path) -> None:
    assert load(folder, max_samples=2).shots == load(folder).shots
    assert len(load(folder, max_samples=2).questions) == 2
    assert load(folder, seed=1).shots != load(folder, seed=0).shots


def test_a_training_question_that_is_also_evaluated_is_no_example(
    tmp_path: Path, write_jsonl: Writer
) -> None:
    shared = {"question": "in both?", "answers": ["x"]}
    write_jsonl("webquestions/train.jsonl", [{"id": "r", **shared}, *rows("train", 2)])
    write_jsonl("webquestions/test.jsonl", [{"id": "s", **shared}])
    shots = load(tmp_path, num_shots=2).shots
    assert {shot.wording for shot in shots} == {"train question 0?", "train question 1?"}
    with pytest.raises(UserError, match="2 few-shot examples, 3 were asked for"):
        load(tmp_path, num_shots=3)


def test_a_folder_without_the_files_is_refused(tmp_path: Path, write_jsonl: Writer) -> None:
    with pytest.raises(UserError, match=r"holds neither webquestions/test\.jsonl nor test\.jsonl"):
        load(tmp_path)
    write_jsonl("test.jsonl", rows("test", 1))
    with pytest.raises(UserError, match=r"train\.jsonl does not exist"):
        load(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        load(tmp_path / "absent")


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_rows_as_the_hub_has_them_load_through_datasets(
    tmp_path: Path, write_jsonl: Writer, kind: str
) -> None:
    columns = [
        {"url": f"http://u/{i}", "question": f"{side} {i}", "answers": ["x", "y"]}
        for side in ("train", "test")
        for i in range(3)
    ]
    path = write_jsonl("hub.jsonl", columns)
    if kind == "parquet":
        path = tmp_path / "hub.parquet"
        parquet.write_table(pa.Table.from_pylist(columns), path)
    dataset = datasets.load_dataset(
        kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    every_row = list(hub.split_rows(dataset, webquestions.HUB_COLUMNS, "hub"))
    loaded = webquestions.from_rows(
        every_row[:3], every_row[3:], num_shots=2, seed=0, source="hub"
    )
    assert [q.wordings for q in loaded.questions] == [("test 0",), ("test 1",), ("test 2",)]
    assert len({q.uuid for q in loaded.questions}) == 3
    assert loaded.questions[0].answers == ("x", "y")
    assert loaded.questions[0].extra == {"url": "http://u/0"}
    assert every_row[4].where == "hub row 5"


def test_a_hub_data_set_without_a_column_is_refused(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_dict({"question": ["q"], "url": ["u"]})
    with pytest.raises(UserError, match="hub has no column 'answers'; its columns are: question"):
        list(hub.split_rows(dataset, webquestions.HUB_COLUMNS, "hub"))


@pytest.mark.parametrize("name", ["webqa", "myriadlama"])
def test_an_unreachable_hub_gives_one_line_that_names_the_option(
    tmp_path: Path, name: str
) -> None:
    script = f"""
from self_ensemble.errors import UserError
from self_ensemble.questions import load_questions
try:
    load_questions({name!r})
except UserError as error:
    print(error)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert "from the hub" in done.stdout
    assert "--data DIR" in done.stdout
    assert done.stderr == ""


def test_a_missing_datasets_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'self-ensemble\[hub\]'.*--data"):
        load_questions("webqa")


def test_the_evaluation_data_load_whole(evaluation_data: Path) -> None:
    loaded = load(evaluation_data)
    assert len(loaded.questions) == 1527
    assert all(q.answers and len(q.wordings) == 1 for q in loaded.questions)

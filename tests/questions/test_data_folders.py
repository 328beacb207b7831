"""Folders that hold a data set: saved by `datasets`, shards, template sets."""

from pathlib import Path

import datasets
import pandas as pd
import pytest
from loading import load

from self_ensemble.errors import UserError
from self_ensemble.questions import load_questions


def test_folders_saved_by_datasets(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    test = datasets.Dataset.from_dict({"question": ["a?", "b?"], "answers": [["x"], ["y"]]})
    test.save_to_disk(tmp_path / "one", num_shards=2)
    splits = datasets.DatasetDict({"train": test.select([1]), "test": test})
    splits.save_to_disk(tmp_path / "both")
    both = [(("a?",), ("x",)), (("b?",), ("y",))]
    loaded = load_questions(str(tmp_path / "one"), num_shots=0)
    assert [(q.wordings, q.answers) for q in loaded.questions] == both
    assert loaded.name == "one"
    loaded = load_questions(str(tmp_path / "both"), num_shots=0, split="test")
    assert [(q.wordings, q.answers) for q in loaded.questions] == both
    assert loaded.name == "both-test"
    with pytest.raises(UserError, match=r"has the splits train, test\. Say which: --split train"):
        load(tmp_path / "both")
    with pytest.raises(UserError, match=r"Unknown split 'tset'\. Did you mean 'test'"):
        load(tmp_path / "both", split="tset")
    shard = next((tmp_path / "one").glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"cut short"):
        load(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}')
    with pytest.raises(UserError, match=r"names '\.\./x\.arrow', which is no file of its folder"):
        load(tmp_path / "one")


def test_folders_of_shards(tmp_path: Path) -> None:
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for split, part in (("train", 0), ("test", 0), ("test", 1)):
        frame = pd.DataFrame({"question": [f"{split} {part}?"], "answers": [["x"]]})
        frame.to_parquet(tmp_path / "hub" / "data" / f"{split}-0000{part}-of-00002.parquet")
    loaded = load(tmp_path / "hub", split="test")
    assert [q.wordings for q in loaded] == [("test 0?",), ("test 1?",)]
    (tmp_path / "two").mkdir()
    for name in ("cats.csv", "dogs.csv"):
        (tmp_path / "two" / name).write_text("question,answers\nq,a\n")
    with pytest.raises(UserError, match=r"holds cats\.csv, dogs\.csv\. Give one of the files"):
        load(tmp_path / "two")


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("bear", None, 5899),
        ("entityquestions", None, 16_412),
        ("graphquestions", None, 163),
        ("myriadlama", None, 1502),
        ("myriadlama_like", None, 18_937),
        ("trec9_variants", None, 42),
        ("webquestions", "test", 1527),
        ("webquestions", "train", 3778),
    ],
)
def test_every_folder_of_the_evaluation_data_loads(
    evaluation_data: Path, name: str, split: str | None, count: int
) -> None:
    loaded = load_questions(str(evaluation_data / name), num_shots=0, split=split)
    assert len(loaded.questions) == count
    assert all(question.wordings and question.answers for question in loaded.questions)

"""Result files of the published layout, written by pandas without what ours have, as they are."""

import re
from pathlib import Path

import pandas as pd
import pytest

from self_ensemble.cli.main import main
from self_ensemble.errors import UserError
from self_ensemble.results import load

PAGE = Path(__file__).parents[2] / "docs" / "published.md"
FILES = ("flex_attention-5", "ensemble_avg-5", "origin", "diversity/flex_attention-0,2")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("results/webqa/llama3.2_3b_it")
    (folder / "diversity").mkdir(parents=True)
    for place, name in enumerate(FILES):
        rows = [_row(n, right=n > place) for n in range(4)]
        pd.DataFrame(rows).to_feather(folder / f"{name}.feather")
    rows = [_row(n, right=n == k) | {"paraphrase": f"{n} {k}"} for n in range(4) for k in range(3)]
    pd.DataFrame(rows).to_feather(folder / "per_prompt.feather")
    return folder


def _row(number: int, right: bool) -> dict[str, object]:
    said = "Rome" if right else "Oslo"
    row = {"uuid": f"q{number}", "answers": ["Rome"], "prediction": said}
    return row | {"generation": f" {said}\nQ: next", "predict_lemma": [said.lower()]}


def test_a_folder_of_the_published_layout_is_scored_as_it_is(folder):
    scores = {score.file: score.accuracy.value for score in load(folder).scores()}
    assert [scores[name] for name in FILES] == [0.75, 0.5, 0.25, 0.0]


def test_wordings_without_an_index_are_numbered_as_they_stand(folder):
    rows = load(folder).files["per_prompt"].rows
    assert [(row.uuid, row.paraphrase_index) for row in rows[:4]] == [
        ("q0", 0), ("q0", 1), ("q0", 2), ("q1", 0),
    ]  # fmt: skip


def test_a_wording_that_stands_twice_is_refused(folder):
    path = folder / "per_prompt.feather"
    table = pd.read_feather(path)
    pd.concat([table, table[:1]], ignore_index=True).to_feather(path)
    with pytest.raises(UserError, match="row 'q0' with wording '0 0' twice"):
        load(folder)


def test_every_file_that_lacks_a_column_is_named_with_it(folder, capsys):
    _drop(folder / "ensemble_avg-5.feather", "prediction")
    _drop(folder / "origin.feather", "answers")
    assert main(["analyze", "--dataset", "webqa", "--model", "llama3.2_3b_it"]) == 2
    said = capsys.readouterr().err
    assert "ensemble_avg-5.feather has no column prediction" in said
    assert "origin.feather has no column answers" in said


def test_the_page_says_how_a_file_is_mended(folder):
    _drop(folder / "ensemble_avg-5.feather", "prediction")
    message = "ensemble_avg-5.feather has no column prediction: it is no result file."
    with pytest.raises(UserError, match=re.escape(message)):
        load(folder)
    page = PAGE.read_text()
    assert message in page
    (mend,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(mend, {})
    found = {score.file: score.accuracy.value for score in load(folder).scores()}
    assert found["ensemble_avg-5"] == 0.5


def _drop(path: Path, column: str) -> None:
    pd.read_feather(path).drop(columns=[column]).to_feather(path)

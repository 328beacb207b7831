"""Agreement, examples, calibration and provenance of loaded results."""

import hashlib
import sys
from math import isnan
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import answers_file, record, write_file
from tests.results.result_rows import write_result

from self_ensemble import results
from self_ensemble.errors import UserError
from self_ensemble.scoring.calibration_table import calibration_table
from self_ensemble.scoring.lemmas import lemmatiser_named


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "facts" / "tiny"
    answers_file(folder / "origin.feather", "0101x0")
    answers_file(folder / "vote-3.feather", "11001_")
    answers_file(folder / "avg-3.feather", "110010")
    answers = (("Rome", "Oslo", "rome."), ("Oslo", "Oslo", "Bonn"), ("Rome", "Rome", "Rome"))
    write_file(
        folder / "per_prompt.feather",
        [
            record(f"q{i}", answers[i % 3][j], paraphrase_index=j, paraphrase=f"{i} in {j}?",
                   mean_logprob=-0.2 * (1 + i + j))
            for i in range(6)
            for j in range(3)
        ],
    )  # fmt: skip
    return folder


def test_methods_agree_where_they_say_the_same_words(folder):
    found = results.load(folder).agreement()
    assert found.names == ("avg-3", "origin", "vote-3")
    share = {(a, b): found.shares[i][j] for i, a in enumerate(found.names)
             for j, b in enumerate(found.names)}  # fmt: skip
    # q4 is an error of origin; of the five others, q1 and q2 are answered alike, and q5 by avg.
    assert share["avg-3", "origin"].n == 5
    assert share["avg-3", "origin"].value == pytest.approx(3 / 5)
    assert share["vote-3", "origin"].value == pytest.approx(2 / 5)
    assert share["origin", "vote-3"] == share["vote-3", "origin"]
    assert share["vote-3", "vote-3"].value == 1


def test_wordings_agree_as_their_normalised_answers_do(folder):
    found = results.load(folder).wording_agreement()
    assert found.names == ("wording 1", "wording 2", "wording 3")
    values = [[round(share.value, 4) for share in row] for row in found.shares]
    assert values == [[1, 0.6667, 0.6667], [0.6667, 1, 0.3333], [0.6667, 0.3333, 1]]
    assert 0 < found.widest <= 0.7


def test_without_wordings_alone_there_is_no_agreement_of_them(folder):
    (folder / "per_prompt.feather").unlink()
    assert results.load(folder).wording_agreement() is None


def test_examples_are_of_every_kind_with_all_that_was_said(folder):
    loaded = results.load(folder)
    found = {one.uuid: one for one in loaded.examples(loaded.scores())}
    assert set(found) == {f"q{i}" for i in range(6)}
    first = found["q0"]
    assert first.changed["gained"] == ("avg-3", "vote-3")
    assert [(said.name, said.right) for said in first.methods] == [
        ("avg-3", True), ("origin", False), ("vote-3", True),
    ]  # fmt: skip
    assert [(said.name, said.prediction, said.right) for said in first.alone] == [
        ("0 in 0?", "Rome", True), ("0 in 1?", "Oslo", False), ("0 in 2?", "rome.", True),
    ]  # fmt: skip
    assert first.kinds == ("gained", "disagree")
    assert found["q3"].changed["lost"] == ("avg-3", "vote-3")
    error = found["q4"].methods[1]
    assert (error.prediction, error.right) == (None, False)
    assert error.error == "the prompt is too long"


def test_a_quarter_of_the_examples_is_of_each_kind(tmp_path):
    folder = tmp_path / "facts" / "tiny"
    answers_file(folder / "origin.feather", "0" * 30 + "1" * 30 + "0" * 40)
    answers_file(folder / "vote-3.feather", "1" * 30 + "0" * 30 + "_" * 20 + "0" * 20)
    loaded = results.load(folder)
    kinds = [one.kinds for one in loaded.examples(loaded.scores(), 20)]
    assert (
        kinds
        == [("gained", "disagree")] * 5
        + [("lost", "disagree")] * 5
        + [("disagree",)] * 5
        + [()] * 5
    )
    assert len(loaded.examples(loaded.scores(), 3)) == 3
    # What one kind lacks goes to the others.
    answers_file(folder / "vote-3.feather", "0" * 98 + "11")
    loaded = results.load(folder)
    chosen = loaded.examples(loaded.scores(), 20)
    assert len({one.uuid for one in chosen}) == 20
    assert sum("gained" in one.kinds for one in chosen) == 2
    assert sum("lost" in one.kinds for one in chosen) == 13


def test_calibration_is_that_of_the_table(folder):
    loaded = results.load(folder)
    found = loaded.calibration()
    table = calibration_table(
        [loaded.folder], lemmatiser_named("simplemma"), lemmatiser_name="simplemma"
    )
    assert found.without == ("avg-3", "origin", "vote-3")
    (ours,), (theirs,) = found.rows, table.rows
    for name in ("accuracy", "mean_confidence", "ece", "brier", "auroc"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), nan_ok=True)
    fewer = loaded.calibration(50).rows[0]
    assert fewer.ece.value == ours.ece.value
    assert fewer.ece[1:3] != ours.ece[1:3]


def test_estimates_are_those_of_the_scores(folder):
    loaded = results.load(folder)
    (row,) = [row for row in loaded.scores() if row.file == "per_prompt"]
    assert loaded.estimate("per_prompt", "accuracy") == row.accuracy
    assert loaded.estimate("per_prompt", "token_f1").value == pytest.approx(row.token_f1)
    assert not isnan(loaded.estimate("per_prompt", "exact_match").low)
    with pytest.raises(UserError, match="Unknown score 'f1'"):
        loaded.estimate("per_prompt", "f1")


def test_provenance_is_the_manifest_and_the_digest(folder):
    path = folder / "vote-5.feather"
    write_result(path, ["q1"])
    made = {one.file: one for one in results.load(folder).made_with()}
    assert made["vote-5"].fields["method"] == "vote"
    assert made["vote-5"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert made["vote-5"].num_bytes == path.stat().st_size
    assert made["origin"].fields is None

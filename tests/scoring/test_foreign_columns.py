"""Columns of files that others wrote: what is no number or text is refused, not stumbled over."""

import json
import math

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from self_ensemble.cli.main import main
from self_ensemble.errors import UserError
from self_ensemble.results import load
from self_ensemble.scoring.files import read_confidences, read_rows

ROWS = {
    "uuid": ["q0", "q1", "q2"],
    "answers": [["Rome"]] * 3,
    "prediction": ["Rome", "Oslo", "Rome"],
}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "results" / "mine" / "m"
    folder.mkdir(parents=True)
    return folder


def write(folder, name="origin", **columns):
    path = folder / f"{name}.feather"
    pa.feather.write_feather(pa.table(ROWS | columns), str(path))
    return path


@pytest.mark.parametrize(
    ("column", "values", "wanted"),
    [
        ("seconds", ["1.5"] * 3, "numbers"),
        ("mean_logprob", ["x"] * 3, "numbers"),
        ("num_tokens", [[1]] * 3, "numbers"),
        ("error", [True, False, False], "texts"),
        ("paraphrase_index", ["0"] * 3, "whole numbers"),
        ("paraphrase", [3] * 3, "texts"),
        ("paraphrases", ["what?"] * 3, "lists of texts"),
        ("uuid", [1.5, 2.5, 3.5], "whole numbers"),
    ],
)
def test_a_column_of_another_type_is_refused_by_name(folder, column, values, wanted):
    path = write(folder, **{column: values})
    with pytest.raises(UserError, match=f"has column {column} of type .* must hold .*{wanted}"):
        read_rows(path)


def test_a_confidence_that_is_a_text_is_refused(folder):
    path = write(folder, "confidence", greedy_predict=["Rome"] * 3, confidence=["high"] * 3)
    with pytest.raises(UserError, match="has column confidence of type string"):
        read_confidences(path)


def test_a_column_without_values_passes_whatever_its_type(folder):
    path = folder / "origin.feather"
    empty = {"error": math.nan, "seconds": None, "paraphrase_index": math.nan}
    pd.DataFrame(ROWS | empty).to_feather(path)
    assert [row.error for row in read_rows(path)] == [None] * 3


def test_an_empty_error_is_none(folder):
    path = write(folder, error=["", "too long", None])
    assert [row.error for row in read_rows(path)] == [None, "too long", None]
    path = write(folder, error=["", "", ""], prediction=["Rome", None, "Oslo"])
    with pytest.raises(UserError, match="row 'q1' has neither a prediction nor an error"):
        read_rows(path)


def test_wordings_that_are_not_all_known_are_not_known(folder):
    path = write(folder, paraphrases=[["a", None], ["b", "c"], [None]])
    assert [row.wordings for row in read_rows(path)] == [(), ("b", "c"), ()]


def test_whole_numbers_name_the_same_questions_as_their_digits(folder):
    write(folder, uuid=[1, 2, 3], prediction=["Oslo"] * 3)
    write(folder, "mine", uuid=["1", "2", "3"])
    found = load(folder).compare("mine", "origin")
    assert found.difference.n == 3
    assert found.gained == ("1", "3")


def test_what_is_infinite_is_not_known_in_any_table(folder, capsys):
    write(folder, seconds=[math.inf] * 3, num_tokens=[1, math.inf, 2.0])
    output = str(folder.parents[1])
    assert main(["analyze", "--compare-all", "--output-dir", output, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["files"]
    assert row["median_seconds"] is None
    assert row["answer_tokens"] == 1.5


def test_a_log_probability_above_0_is_no_confidence_of_a_wording(folder):
    two = {name: values * 2 for name, values in ROWS.items()}
    index = {"paraphrase_index": [0] * 3 + [1] * 3, "mean_logprob": [800.0, math.inf, 1.0] * 2}
    write(folder, "per_prompt", **two, **index)
    found = load(folder).robustness()
    assert math.isnan(found.overconfidence.value)

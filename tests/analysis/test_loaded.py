"""Results loaded again: rows, comparisons, clusters, and what cannot be loaded."""

import re
import subprocess
import sys
from math import isnan
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import answers_file, record, write_file

from self_ensemble import results
from self_ensemble.analysis.comparison import compare
from self_ensemble.errors import UserError
from self_ensemble.results.schema import PER_PROMPT_SCHEMA, with_attribution


@pytest.fixture
def folder(tmp_path) -> Path:
    """One model on one data set: origin, a fused file and three wordings alone."""
    folder = tmp_path / "facts" / "tiny"
    answers_file(folder / "origin.feather", "0101x0")
    answers_file(folder / "vote-3.feather", "11001_")
    wordings = [
        record(
            f"q{i}", "Rome" if (i, j) in {(1, 0), (3, 0), (3, 1)} else "Oslo", paraphrase_index=j
        )
        for i in range(6)
        for j in range(3)
    ]
    write_file(folder / "per_prompt.feather", wordings)
    return folder


def test_frame_has_every_row_with_its_scores(folder):
    frame = results.load(folder).frame("vote-3")
    assert frame["uuid"].tolist() == [f"q{i}" for i in range(6)]
    assert frame["accuracy"].tolist() == [1, 1, 0, 0, 1, 0]
    assert frame["no_answer"].tolist() == [False] * 5 + [True]
    errors = results.load(folder).frame("origin").set_index("uuid").loc["q4"]
    assert errors["error"] == "the prompt is too long"
    assert isnan(errors["accuracy"])


def test_comparison_tells_what_was_won_lost_and_new(folder):
    compared = results.load(folder).compare("vote-3", "origin")
    assert (compared.gained, compared.lost, compared.new) == (("q0",), ("q3",), ("q0", "q4"))
    assert (compared.difference.value, compared.difference.n) == (0, 5)
    assert compared.p_value == 1


def test_question_without_wordings_alone_is_not_new():
    compared = compare(("ours", "origin"), {"a": 1, "b": 1}, {}, any_wording={"a": False})
    assert compared.new == ("a",)


def test_mean_over_wordings_has_no_mcnemar_test(folder):
    assert isnan(results.load(folder).compare("per_prompt", "origin").p_value)


def test_scores_are_corrected_over_the_files_with_a_test(folder):
    answers_file(folder / "avg-3.feather", "1" * 6)
    rows = {row.file: row for row in results.load(folder).scores()}
    p_values = {name: row.comparison and row.comparison.p_value for name, row in rows.items()}
    assert p_values["avg-3"] == pytest.approx(0.25)
    assert rows["avg-3"].p_holm == pytest.approx(2 * 0.25)
    assert isnan(rows["per_prompt"].p_holm)
    assert isnan(rows["origin"].p_holm)


def test_clusters_are_columns_that_are_given_or_in_the_files(tmp_path):
    folder = tmp_path / "facts" / "tiny"
    rows = [record(f"q{i}", "Rome" if i < 20 else "Oslo", source=f"s{i // 10}") for i in range(40)]
    write_file(folder / "origin.feather", rows)
    relations = {f"q{i}": {"rel_uri": f"P{i % 20}"} for i in range(40)}
    loaded = results.load(folder, columns=relations)
    widths = []
    for column in (None, "rel_uri", "source"):
        (row,) = loaded.scores(cluster=column)
        widths.append(row.accuracy.high - row.accuracy.low)
    # Whole sources are all right or all wrong; pairs of a relation are one of each.
    assert widths[1] < widths[0] < widths[2]
    answers_file(folder / "vote-3.feather", "01" * 20)
    loaded = results.load(folder, columns=relations)
    plain, by_source = (loaded.scores(cluster=column)[1] for column in (None, "source"))
    assert plain.comparison is not None
    assert by_source.comparison is not None
    assert by_source.comparison.difference[:2] != plain.comparison.difference[:2]
    assert by_source.comparison.detectable > plain.comparison.detectable
    with pytest.raises(UserError, match=r"no column 'relation'.* There are: rel_uri, source\."):
        loaded.scores(cluster="relation")
    fewer = results.load(folder, columns={"q0": {"rel_uri": "P1"}})
    with pytest.raises(
        UserError, match=r"39 of 40 questions .* have no 'rel_uri', for example q1"
    ):
        fewer.scores(cluster="rel_uri")


def test_columns_that_generate_writes_group_no_questions(tmp_path):
    written = with_attribution(PER_PROMPT_SCHEMA, ("mass",))
    path = tmp_path / "d" / "m" / "per_prompt.feather"
    path.parent.mkdir(parents=True)
    values = {"uuid": "q0", "answers": ["Rome"], "prediction": "Rome", "attribution_error": "no"}
    values |= {"paraphrase_index": 0, "num_tokens": 1, "seconds": 0.1, "mean_logprob": -1.0}
    texts = {f.name: "" for f in written if f.type == "string"}
    lists = {f.name: [] for f in written if not f.nullable and "list" in str(f.type)}
    feather.write_feather(pa.Table.from_pylist([texts | lists | values], schema=written), path)
    assert results.load(path.parent).columns == {"q0": {}}


def test_files_are_named_with_the_nearest_where_there_is_none(folder):
    with pytest.raises(UserError, match=r"Unknown result file 'vote3'. Did you mean 'vote-3'"):
        results.load(folder).compare("vote3", "origin")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"uuid": ["a"], "answers": ["Rome"], "prediction": ["Rome"]}, "must be a list of texts"),
        ({"uuid": ["a"], "answers": [[1]], "prediction": ["Rome"]}, "must be a list of texts"),
        (
            {"uuid": ["a"], "answers": [["Rome"]], "prediction": [3]},
            "prediction 3, which is no te",
        ),
        (
            {"uuid": pa.array([None], pa.string()), "answers": [["Rome"]], "prediction": ["x"]},
            "has a row without uuid",
        ),
        ({"question": ["a"]}, "has no column uuid, answers, prediction"),
    ],
)
def test_foreign_files_are_refused_in_one_line(tmp_path, columns, message):
    path = tmp_path / "d" / "m" / "origin.feather"
    path.parent.mkdir(parents=True)
    feather.write_feather(pa.table(columns), path)
    with pytest.raises(UserError, match=message) as caught:
        results.load(path.parent)
    assert "\n" not in str(caught.value)


def test_error_row_without_answers_is_counted_and_not_scored(tmp_path):
    rows = [record("q0", "Rome"), record("q1", None, answers=None)]
    write_file(tmp_path / "d" / "m" / "origin.feather", rows)
    (row,) = results.load(tmp_path / "d" / "m").scores()
    assert (row.num_scored, row.num_errors) == (1, 1)


def test_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"no finished result file in {tmp_path}.")):
        results.load(tmp_path)
    with pytest.raises(UserError, match="There is no results folder"):
        results.load(tmp_path / "nowhere")


def test_loading_imports_neither_torch_nor_pandas(folder):
    code = (
        f"import sys; from self_ensemble import results; results.load({str(folder)!r}).scores();"
        "sys.exit(bool({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_behind_a_comparison_have_all_that_was_said(folder):
    loaded = results.load(folder)
    (gained,) = loaded.changed("gained", "vote-3")
    assert (gained.uuid, gained.prediction, gained.right) == ("q0", "It is Rome.", True)
    assert (gained.baseline, gained.baseline_right) == ("Oslo", False)
    assert [said.prediction for said in gained.alone] == ["Oslo"] * 3
    assert [one.uuid for one in loaded.changed("new", "vote-3")] == ["q0", "q4"]
    assert [one.uuid for one in loaded.changed("disagree", "vote-3")] == ["q0", "q3", "q5"]
    assert [one.uuid for one in loaded.changed("lost", "vote-3")] == ["q3"]
    (error,) = [one for one in loaded.changed("new", "vote-3") if one.uuid == "q4"]
    assert error.baseline is None


def test_rows_that_cannot_be_had_are_refused(folder):
    loaded = results.load(folder)
    with pytest.raises(UserError, match=r"Unknown kind of rows 'gain'. Did you mean 'gained'"):
        loaded.changed("gain", "vote-3")
    with pytest.raises(UserError, match="per_prompt has an answer for each wording"):
        loaded.changed("gained", "per_prompt")
    (folder / "per_prompt.feather").unlink()
    with pytest.raises(UserError, match=r"has no per_prompt\.feather"):
        results.load(folder).changed("new", "vote-3")
    (folder / "origin.feather").unlink()
    with pytest.raises(UserError, match=r"has no origin\.feather to compare with"):
        results.load(folder).changed("gained", "vote-3")


def test_without_wordings_alone_there_is_no_robustness(folder):
    (folder / "per_prompt.feather").unlink()
    loaded = results.load(folder)
    assert loaded.robustness() is None
    assert loaded.correlations() == ()
    assert loaded.curve().points == ()
    assert loaded.compare("vote-3", "origin").new is None


def test_vote_over_all_wordings_is_the_vote_that_was_run(folder):
    # q1 and q3 have one and two right wordings of three.
    answers_file(folder / "vote-3.feather", "000100")
    loaded = results.load(folder)
    (*_, whole) = loaded.curve().series("vote")
    assert whole.accuracy.value == pytest.approx(loaded.accuracies("vote-3")["q3"] / 6)

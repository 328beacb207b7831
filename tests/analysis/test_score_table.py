"""From result files to rows of the score table."""

import sys
from math import isnan
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import answers_file, record, write_file

from self_ensemble.analysis.load import load_folders
from self_ensemble.analysis.loaded import Judging
from self_ensemble.analysis.score_rows import ScoreRow
from self_ensemble.analysis.score_table import ScoreTable, score_table
from self_ensemble.errors import UserError
from self_ensemble.scoring.files import ResultRow, read_rows
from self_ensemble.scoring.folders import result_folders
from self_ensemble.scoring.lemmas import simplemma_lemmatiser
from self_ensemble.scoring.scores import accuracy_by_question, score_rows, seconds_per_question


def table_of(output_dir, **options) -> ScoreTable:
    return score_table(load_folders(result_folders(output_dir), Judging()), **options)


def by_file(table: ScoreTable) -> dict[str, ScoreRow]:
    return {row.file: row for row in table.rows}


def result(uuid: str, prediction: str, seconds: float, index: int | None = None) -> ResultRow:
    return ResultRow(uuid, ("Rome",), prediction, None, seconds, index)


def test_no_answer_counts_as_not_correct_and_an_error_row_does_not_count(tmp_path):
    answers_file(tmp_path / "d" / "m" / "origin.feather", "110_x")
    (row,) = table_of(tmp_path).rows
    assert (row.num_scored, row.num_errors, row.num_no_answer) == (4, 1, 1)
    assert row.accuracy.value == 2 / 4
    assert row.exact_match == 0
    assert row.token_f1 == pytest.approx(2 / 4 * (2 * 1 / (3 + 1)))


def test_difference_is_over_the_questions_scored_in_both(tmp_path):
    answers_file(tmp_path / "d" / "m" / "origin.feather", "000111x")
    answers_file(tmp_path / "d" / "m" / "vote-5.feather", "11x1111")
    table = table_of(tmp_path)
    difference = by_file(table)["vote-5"].difference
    assert difference is not None
    assert (difference.value, difference.n) == (2 / 5, 5)
    assert any("scored both there and in origin: vote-5 5." in note for note in table.notes)


def test_file_compared_with_an_equal_one_has_no_difference_and_no_note(tmp_path):
    for name in ("origin", "vote-5"):
        answers_file(tmp_path / "d" / "m" / f"{name}.feather", "0101")
    table = table_of(tmp_path)
    assert by_file(table)["vote-5"].difference == (0, 0, 0, 4)
    assert by_file(table)["origin"].difference is None
    assert table.notes == ()


def test_baseline_can_be_any_file_of_the_folder(tmp_path):
    answers_file(tmp_path / "d" / "m" / "origin.feather", "0011")
    answers_file(tmp_path / "d" / "m" / "diversity" / "vote-0,2.feather", "1111")
    difference = by_file(table_of(tmp_path, baseline="diversity/vote-0,2"))["origin"].difference
    assert difference is not None
    assert difference.value == -0.5


def test_per_prompt_is_the_mean_of_its_wordings_over_questions(tmp_path):
    path = tmp_path / "d" / "m" / "per_prompt.feather"
    texts = {("a", 0): "Rome", ("a", 1): "Rome", ("b", 0): "Rome", ("b", 1): "Oslo"}
    rows = [record(uuid, text, paraphrase_index=i) for (uuid, i), text in texts.items()]
    # A question of which one wording failed weighs as much as the others.
    rows += [record("c", "Oslo", paraphrase_index=0), record("c", None, paraphrase_index=1)]
    write_file(path, rows)
    table = table_of(tmp_path)
    (row,) = table.rows
    assert row.accuracy.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert (row.num_scored, row.num_errors) == (3, 1)
    assert row.seconds == 1.0
    wordings = [
        (line.paraphrase_index, line.num_scored, line.num_errors, line.accuracy.value)
        for line in table.wordings
    ]
    assert wordings == [(0, 3, 0, pytest.approx(2 / 3)), (1, 2, 1, 0.5)]


def test_interval_of_per_prompt_does_not_shrink_when_every_wording_says_the_same(tmp_path):
    answers_file(tmp_path / "d" / "m" / "origin.feather", "01" * 20)
    origin = read_rows(tmp_path / "d" / "m" / "origin.feather")
    copies = [
        record(row.uuid, row.prediction, paraphrase_index=i) for row in origin for i in range(5)
    ]
    write_file(tmp_path / "d" / "m" / "per_prompt.feather", copies)
    rows = by_file(table_of(tmp_path))
    assert rows["per_prompt"].accuracy == rows["origin"].accuracy


def test_seconds_per_question_is_the_median_of_the_sums_over_wordings():
    rows = [result(uuid, "x", time, i) for i, uuid, time in [(0, "a", 1), (1, "a", 2)]]
    rows += [result("b", "x", 99, 0), result("c", "x", 2, 0)]
    assert seconds_per_question(score_rows(rows, str.split)) == 3


def test_file_of_errors_only_has_no_accuracy(tmp_path):
    answers_file(tmp_path / "d" / "m" / "origin.feather", "xx")
    (row,) = table_of(tmp_path).rows
    assert (row.num_scored, row.num_errors) == (0, 2)
    assert all(isnan(number) for number in (*row.accuracy[:3], row.token_f1, row.exact_match))


def test_file_without_the_optional_columns_is_scored(tmp_path):
    path = write_file(
        tmp_path / "d" / "m" / "origin.feather",
        [{"uuid": "a", "answers": ["Rome"], "prediction": "Rome"}],
    )
    scores = score_rows(read_rows(path), simplemma_lemmatiser())
    assert accuracy_by_question(scores) == {"a": 1}
    assert isnan(seconds_per_question(scores))


def test_stored_lemmas_do_not_decide_the_score(tmp_path):
    stale = {"predict_lemma": ["oslo"], "answer_lemmas": [["bonn"]]}
    path = write_file(tmp_path / "origin.feather", [record("a", "in Rome", **stale)])
    assert accuracy_by_question(score_rows(read_rows(path), simplemma_lemmatiser())) == {"a": 1}


def test_shards_and_hidden_files_of_a_run_are_no_result_files(tmp_path):
    folder = tmp_path / "d" / "m"
    answers_file(folder / "origin.feather", "1")
    answers_file(folder / "origin.run" / "shard-0.feather", "1")
    answers_file(folder / "diversity" / "vote-0,2.run" / "shard-0.feather", "1")
    (folder / ".origin.feather").write_bytes(b"half")
    (found,) = result_folders(tmp_path)
    assert found.names == ("origin",)
    assert found.unfinished == ("diversity/vote-0,2",)


def test_folder_without_the_default_baseline_is_scored_and_says_so(tmp_path):
    answers_file(tmp_path / "d" / "with" / "origin.feather", "10")
    answers_file(tmp_path / "d" / "with" / "vote-5.feather", "11")
    answers_file(tmp_path / "d" / "without" / "vote-5.feather", "11")
    table = table_of(tmp_path)
    assert [row.difference is None for row in table.rows] == [True, False, True]
    assert table.notes == ("d/without has no origin.feather, so its rows have no difference.",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([record("a", "Rome"), record("a", "Oslo")], "has row 'a' twice"),
        ([record("a", "x", paraphrase_index=1)] * 2, "has row 'a' with wording 1 twice"),
        ([record("a", "Rome", answers=[])], "row 'a' has no answers"),
        ([record("a", None, error=None)], "row 'a' has neither a prediction nor an error"),
        ([{"uuid": "a", "text": "b"}], "has no column answers, prediction"),
    ],
)
def test_file_that_cannot_be_scored_is_refused(tmp_path, rows, message):
    path = write_file(tmp_path / "origin.feather", rows)
    with pytest.raises(UserError, match=message):
        read_rows(path)


def test_results_in_a_folder_that_is_a_link_are_found_once(tmp_path):
    folder = tmp_path / "results" / "demo" / "tiny"
    folder.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "vote-2.run").mkdir(parents=True)
    for name in ("vote-0,1.feather", ".vote-5.feather", "vote-2.run/shard-00000.feather"):
        (elsewhere / name).write_bytes(b"")
    (folder / "diversity").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (found,) = result_folders(tmp_path / "results")
    assert found.names == ("diversity/vote-0,1",)
    assert found.unfinished == ("diversity/vote-2",)


def test_file_that_is_no_feather_file_is_refused_by_name(tmp_path):
    path = tmp_path / "origin.feather"
    path.write_text("uuid,answers\n")
    with pytest.raises(UserError, match=r"origin\.feather .*It must be an Arrow feather file"):
        read_rows(path)


def tokens_of(tmp_path, records) -> float:
    write_file(tmp_path / "d" / "m" / "per_prompt.feather", records)
    (row,) = table_of(tmp_path).rows
    return row.tokens


def test_tokens_are_a_mean_over_questions_with_all_their_wordings(tmp_path):
    values = {"a": (10, 5, 6), "b": (20, 7, 8), "c": (30, None, 9)}
    records = [
        record(uuid, None if number is None else "Rome", paraphrase_index=n, tokens=number)
        for uuid, numbers in values.items()
        for n, number in enumerate(numbers)
    ]
    # Of "c" a wording is an error row, so that nobody knows what the question takes.
    assert tokens_of(tmp_path, records) == ((10 + 5 + 6) + (20 + 7 + 8)) / 2
    (first, second, _) = table_of(tmp_path).wordings
    assert (first.tokens, second.tokens) == ((10 + 20 + 30) / 3, (5 + 7) / 2)


def test_tokens_that_some_answers_lack_are_unknown(tmp_path):
    rows = [record("a", "Rome", tokens=10), record("b", "Rome", tokens=None)]
    assert isnan(tokens_of(tmp_path, rows))


def test_a_file_without_tokens_or_with_others_of_that_name_is_scored(tmp_path):
    assert isnan(tokens_of(tmp_path, [record("a", "Rome")]))
    assert isnan(tokens_of(tmp_path, [record("a", "Rome", tokens="It is Rome")]))
    assert isnan(tokens_of(tmp_path, [record("a", "Rome", tokens=["It", "is"])]))
    assert isnan(tokens_of(tmp_path, [record("a", "Rome", tokens=float("inf"))]))

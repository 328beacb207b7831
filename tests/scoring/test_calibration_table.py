"""From confidence and result files to rows of the calibration table."""

from math import exp, isnan, log, nan

import numpy as np
import pytest
from calibration_files import confidence_file, confidence_record, likelihood_file
from result_files import answers_file, record, write_file

from self_ensemble.analysis.load import load_folders
from self_ensemble.analysis.loaded import Judging
from self_ensemble.analysis.score_table import score_table
from self_ensemble.errors import UserError
from self_ensemble.scoring.calibration_table import (
    CalibrationRow,
    CalibrationTable,
    calibration_table,
)
from self_ensemble.scoring.files import read_confidences
from self_ensemble.scoring.folders import calibration_folders, result_folders
from self_ensemble.scoring.lemmas import simplemma_lemmatiser


def table_of(output_dir, **options) -> CalibrationTable:
    return calibration_table(
        calibration_folders(output_dir),
        simplemma_lemmatiser(),
        lemmatiser_name="simplemma",
        **options,
    )


def by_name(table: CalibrationTable) -> dict[str, CalibrationRow]:
    return {row.name: row for row in table.rows}


def test_confidence_files_are_no_result_files_and_do_not_break_the_score_table(tmp_path):
    folder = tmp_path / "d" / "m"
    answers_file(folder / "origin.feather", "10")
    confidence_file(folder / "confidence.feather", "10", [0.9, 0.1])
    confidence_file(folder / "confidence-p_true.feather", "10", [0.9, 0.1])
    (folder / "confidence-logprob.run").mkdir()
    (found,) = result_folders(tmp_path)
    assert (found.names, found.unfinished) == (("origin",), ())
    assert found.confidences == ("confidence", "confidence-p_true")
    assert found.unfinished_confidences == ("confidence-logprob",)
    table = score_table(load_folders(result_folders(tmp_path), Judging()))
    assert [row.file for row in table.rows] == ["origin"]


def test_estimators_come_before_result_files_each_under_its_name(tmp_path):
    folder = tmp_path / "d" / "m"
    likelihood_file(folder / "vote-5.feather", "10", [0.9, 0.1])
    likelihood_file(folder / "diversity" / "vote-0,2.feather", "10", [0.9, 0.1])
    confidence_file(folder / "confidence-p_true.feather", "10", [0.9, 0.1])
    confidence_file(folder / "confidence.feather", "10", [0.9, 0.1])
    rows = table_of(tmp_path).rows
    assert [row.name for row in rows] == ["sampling", "p_true", "vote-5", "diversity/vote-0,2"]
    assert [row.estimator for row in rows] == ["sampling", "p_true", None, None]


def test_error_rows_are_left_out_and_empty_answers_are_wrong(tmp_path):
    confidence_file(tmp_path / "d" / "m" / "confidence.feather", "11x0_", [0.9, 0.8, 0, 0.3, 0.2])
    (row,) = table_of(tmp_path).rows
    assert (row.num_answers, row.num_left_out) == (4, 1)
    assert row.accuracy.value == 2 / 4
    assert row.mean_confidence.value == pytest.approx((0.9 + 0.8 + 0.3 + 0.2) / 4)
    assert row.auroc.value == 1
    assert [estimate.value for estimate in row.accuracy_at] == [1, 2 / 4]


def test_confidence_of_a_fused_answer_is_its_length_normalised_likelihood(tmp_path):
    token_probs = [0.9, 0.4, 0.5]
    mean_logprob = sum(map(log, token_probs)) / len(token_probs)
    write_file(
        tmp_path / "d" / "m" / "vote-5.feather",
        [
            record("a", "Rome", mean_logprob=mean_logprob),
            record("b", "Oslo", mean_logprob=0.0),
            # Nothing was generated, so there is no likelihood.
            record("c", "", mean_logprob=nan),
            record("d", None, mean_logprob=-1.0),
            record("e", "Rome", mean_logprob=-1.0, error="stopped half-way"),
        ],
    )
    (row,) = table_of(tmp_path).rows
    geometric_mean = np.prod(token_probs) ** (1 / 3)
    assert exp(mean_logprob) == pytest.approx(geometric_mean)
    assert row.mean_confidence.value == pytest.approx((geometric_mean + 1) / 2)
    assert (row.num_answers, row.num_left_out, row.accuracy.value) == (2, 3, 0.5)


def test_file_of_a_published_notebook_is_read(tmp_path):
    rows = [confidence_record("a", mark, value) for mark, value in [("1", 0.8), ("0", 0.4)]]
    # The same wording twice in a question cannot be told from a repeated row there.
    rows += [confidence_record("b", "1", 0.6), confidence_record("b", "1", nan)]
    for row in rows:
        del row["paraphrase_index"], row["error"]
    path = write_file(tmp_path / "d" / "m" / "confidence.feather", rows)
    assert [row.confidence for row in read_confidences(path)][:3] == [0.8, 0.4, 0.6]
    (row,) = table_of(tmp_path).rows
    assert (row.num_answers, row.num_left_out) == (3, 1)


def test_interval_does_not_shrink_when_every_wording_says_the_same(tmp_path):
    marks, values = "0110100111" * 4, np.linspace(0.05, 0.95, 40)
    copies = [
        confidence_record(f"q{i}", mark, value, index)
        for i, (mark, value) in enumerate(zip(marks, values, strict=True))
        for index in range(5)
    ]
    confidence_file(tmp_path / "d" / "m" / "confidence-once.feather", marks, list(values))
    write_file(tmp_path / "d" / "m" / "confidence-copies.feather", copies)
    rows = by_name(table_of(tmp_path))
    for name in ("accuracy", "ece", "brier", "auroc"):
        once, copied = getattr(rows["once"], name), getattr(rows["copies"], name)
        assert copied[:3] == pytest.approx(once[:3])
        assert once.low < once.value < once.high or name == "ece"


def test_wider_coverage_gives_wider_intervals(tmp_path):
    marks, values = "0110100111" * 4, list(np.linspace(0.05, 0.95, 40))
    confidence_file(tmp_path / "d" / "m" / "confidence.feather", marks, values)
    widths = [
        row.auroc.high - row.auroc.low
        for confidence in (0.5, 0.8, 0.99)
        for row in table_of(tmp_path, confidence=confidence).rows
    ]
    assert widths == sorted(widths)
    assert widths[0] < widths[2]


def test_one_question_has_no_interval_and_one_class_has_no_auroc(tmp_path):
    write_file(
        tmp_path / "d" / "m" / "confidence.feather",
        [confidence_record("a", "1", 0.5 + i / 10, i) for i in range(3)],
    )
    (row,) = table_of(tmp_path).rows
    assert row.accuracy.value == 1
    assert isnan(row.accuracy.low)
    assert isnan(row.auroc.value)


def test_file_of_right_answers_only_has_no_auroc_and_no_interval_of_it(tmp_path):
    confidence_file(tmp_path / "d" / "m" / "confidence.feather", "111", [0.2, 0.5, 0.9])
    (row,) = table_of(tmp_path).rows
    assert all(map(isnan, row.auroc[:3]))
    assert row.accuracy[:3] == (1, 1, 1)


def test_resamples_of_one_class_are_left_out_of_the_interval(tmp_path):
    # A third of the resamples of three questions have no right answer or nothing else.
    confidence_file(tmp_path / "d" / "m" / "confidence.feather", "101", [0.9, 0.6, 0.3])
    (row,) = table_of(tmp_path).rows
    assert row.auroc[:3] == (0.5, 0, 1)


def test_error_row_is_left_out_whatever_its_confidence(tmp_path):
    rows = [confidence_record("a", "1", 0.8), confidence_record("b", "1", 0.4)]
    rows[1]["error"] = "stopped half-way"
    write_file(tmp_path / "d" / "m" / "confidence.feather", rows)
    (row,) = table_of(tmp_path).rows
    assert (row.num_answers, row.num_left_out) == (1, 1)


def test_number_of_bins_changes_the_calibration_error(tmp_path):
    confidence_file(tmp_path / "d" / "m" / "confidence.feather", "0101", [0.1, 0.4, 0.6, 0.9])
    (one,) = table_of(tmp_path, num_bins=1).rows
    (ten,) = table_of(tmp_path, num_bins=10).rows
    assert one.ece.value == pytest.approx(0)
    assert ten.ece.value == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)
    assert len(ten.bins.num_answers) == 10


def test_files_without_confidences_and_unfinished_runs_are_named(tmp_path):
    folder = tmp_path / "d" / "m"
    answers_file(folder / "origin.feather", "10")
    confidence_file(folder / "confidence.feather", "10", [0.9, 0.1])
    (folder / "confidence-margin.run").mkdir()
    (folder / "vote-5.run").mkdir()
    table = table_of(tmp_path)
    assert [row.file for row in table.rows] == ["confidence"]
    assert table.notes == (
        "d/m/origin has no row with a mean_logprob, so it is not in the table.",
        "d/m/confidence-margin is not finished and not in the table. "
        "Run the same `self-ensemble confidence` command again to go on.",
        "d/m/vote-5 is not finished and not in the table. "
        "Run the same `self-ensemble generate` command again to go on.",
    )


def test_folder_without_any_confidence_is_refused_with_the_reason(tmp_path):
    answers_file(tmp_path / "d" / "m" / "origin.feather", "10")
    with pytest.raises(UserError, match=r"no row with a mean_logprob.* Run `self-ensemble conf"):
        table_of(tmp_path)


def test_folder_without_files_says_what_to_run(tmp_path):
    (tmp_path / "d" / "m" / "confidence.run").mkdir(parents=True)
    with pytest.raises(
        UserError,
        match=r"no finished confidence or result file in .*d/m\. Not finished yet: confidence\. "
        r"Run `self-ensemble confidence` or `self-ensemble generate`",
    ):
        calibration_folders(tmp_path)
    with pytest.raises(UserError, match="There is no finished result file"):
        result_folders(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([confidence_record("a", "1", 1.2)], "row 'a' has confidence 1.2, which is not between"),
        ([confidence_record("a", "1", 0.5)] * 2, "has row 'a' with wording 0 twice"),
        ([confidence_record("a", "1", 0.5) | {"answers": []}], "row 'a' has no answers"),
        ([{"uuid": "a", "answers": ["b"]}], "no column greedy_predict, confidence: it is no conf"),
    ],
)
def test_confidence_file_that_cannot_be_used_is_refused(tmp_path, rows, message):
    path = write_file(tmp_path / "confidence.feather", rows)
    with pytest.raises(UserError, match=message):
        read_confidences(path)


def test_likelihood_above_one_is_refused(tmp_path):
    write_file(tmp_path / "d" / "m" / "origin.feather", [record("a", "Rome", mean_logprob=0.5)])
    with pytest.raises(UserError, match=r"row 'a' has mean_logprob 0\.5, which is above 0"):
        table_of(tmp_path)


@pytest.mark.parametrize("confidence", [0, 1, 95, nan])
def test_coverage_of_intervals_that_is_no_fraction_is_refused(tmp_path, confidence):
    confidence_file(tmp_path / "d" / "m" / "confidence.feather", "10", [0.9, 0.1])
    with pytest.raises(UserError, match="Give a number between 0 and 1"):
        table_of(tmp_path, confidence=confidence)

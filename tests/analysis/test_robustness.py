"""Measures over wordings against counting them one by one."""

import sys
from dataclasses import replace
from itertools import combinations
from math import exp, isnan, nan
from pathlib import Path
from statistics import fmean, stdev

import pytest

sys.path.append(str(Path(__file__).resolve().parent))
from self_ensemble.analysis.robustness import correlations, robustness
from self_ensemble.scoring.normalise import normalise
from wordings import matrix_of, random_rows


def test_measures_are_those_of_counting():
    rows = random_rows(30, 4, 5)
    by_question = [rows[4 * q : 4 * q + 4] for q in range(30)]
    right = [[normalise(row.prediction) == "rome" for row in asked] for asked in by_question]
    by_wording = [fmean(column) for column in zip(*right, strict=True)]
    pairs = [
        normalise(a.prediction) == normalise(b.prediction)
        for asked in by_question
        for a, b in combinations(asked, 2)
    ]
    surer = [
        exp(row.mean_logprob) - is_right
        for asked, rights in zip(by_question, right, strict=True)
        for row, is_right in zip(asked, rights, strict=True)
    ]
    found = robustness(matrix_of(rows))
    assert (found.num_questions, found.num_wordings) == (30, 4)
    assert found.accuracy.value == pytest.approx(fmean(by_wording))
    assert (found.lowest, found.highest) == (min(by_wording), max(by_wording))
    assert found.fluctuation == max(by_wording) - min(by_wording)
    assert found.deviation == pytest.approx(stdev(by_wording))
    assert found.consistency.value == pytest.approx(fmean(pairs))
    assert found.overconfidence.value == pytest.approx(fmean(surer))
    # "Wording wi of k things" and another share four words of six.
    assert found.lexical_diversity.value == pytest.approx(1 - 4 / 6)


def test_equal_answers_and_wordings_fluctuate_in_nothing():
    rows = [replace(row, prediction="Rome", wordings=("Where?",)) for row in random_rows(8, 3, 6)]
    found = robustness(matrix_of(rows))
    assert (found.fluctuation, found.deviation, found.consistency.value) == (0, 0, 1)
    assert (found.distinct_answers.value, found.lexical_diversity.value) == (1, 0)


def test_one_wording_has_no_pairs_and_unknown_confidence_counts_for_nothing():
    rows = [replace(row, mean_logprob=nan, wordings=()) for row in random_rows(6, 1, 7)]
    found = robustness(matrix_of(rows))
    for estimate in (found.consistency, found.overconfidence, found.lexical_diversity):
        assert estimate.n == 0
        assert isnan(estimate.value)
    assert isnan(found.deviation)


def test_gain_goes_with_what_it_was_made_from():
    matrix = matrix_of(random_rows(60, 4, 8))
    mean = matrix.right.mean(1)
    fused = {
        "as the mean": dict(zip(matrix.uuids, mean.tolist(), strict=True)),
        "always right": dict.fromkeys(matrix.uuids, 1.0),
    }
    same, right = correlations(matrix, fused)
    # A gain that never varies goes with nothing.
    assert isnan(same.mean_accuracy.value)
    assert right.mean_accuracy.value == pytest.approx(-1)
    assert right.answer_diversity.low < right.answer_diversity.value < right.answer_diversity.high

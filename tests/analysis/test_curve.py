"""Votes of subsets against the vote itself, oracles against counting, and runs of several N."""

import sys
from itertools import combinations
from math import isnan
from pathlib import Path
from statistics import fmean

import pytest

sys.path.append(str(Path(__file__).resolve().parent))
from self_ensemble.analysis.curve import ALL, ANY, MAX_SUBSETS, VOTE, curve, subsets
from self_ensemble.analysis.wording_matrix import vote_winners
from self_ensemble.scoring.vote import vote
from wordings import matrix_of, random_rows


@pytest.mark.parametrize("seed", range(4))
def test_vote_of_a_subset_is_the_vote_of_its_answers(seed):
    rows = random_rows(60, 5, seed)
    matrix = matrix_of(rows)
    by_question = [rows[5 * q : 5 * q + 5] for q in range(60)]
    for size in range(1, 6):
        for subset in combinations(range(5), size):
            expected = []
            for asked in by_question:
                chosen = [asked[i] for i in subset]
                winner = vote(
                    [row.prediction or "" for row in chosen], [row.mean_logprob for row in chosen]
                )
                expected.append(subset[winner])
            assert vote_winners(matrix, subset).tolist() == expected


def test_oracles_are_the_mean_over_all_subsets():
    matrix = matrix_of(random_rows(40, 6, 1))
    found = curve(matrix, {})
    for size in range(1, 7):
        chosen = list(combinations(range(6), size))
        any_right = fmean(matrix.right[:, list(s)].any(1).mean() for s in chosen)
        all_right = fmean(matrix.right[:, list(s)].all(1).mean() for s in chosen)
        assert found.series(ANY)[size - 1].accuracy.value == pytest.approx(any_right)
        assert found.series(ALL)[size - 1].accuracy.value == pytest.approx(all_right)


def test_vote_is_between_the_oracles_and_starts_at_the_mean_wording():
    matrix = matrix_of(random_rows(80, 5, 2))
    found = curve(matrix, {})
    assert found.series(VOTE)[0].accuracy.value == pytest.approx(matrix.right.mean())
    for all_of, voted, any_of in zip(*map(found.series, (ALL, VOTE, ANY)), strict=True):
        assert voted.lowest <= voted.accuracy.value <= voted.highest
        assert all_of.accuracy.value <= voted.accuracy.value
        assert voted.accuracy.value <= any_of.accuracy.value
        assert voted.accuracy.low <= voted.accuracy.value <= voted.accuracy.high


def test_all_subsets_count_up_to_two_hundred_and_beyond_different_ones_are_drawn():
    assert subsets(5, 3) == list(combinations(range(5), 3))
    drawn = subsets(12, 6)
    assert len(drawn) == len(set(drawn)) == MAX_SUBSETS
    assert all(len(set(subset)) == 6 and max(subset) < 12 for subset in drawn)
    assert drawn == subsets(12, 6)
    assert drawn != subsets(12, 6, seed=1)


def test_runs_of_several_numbers_are_points_of_their_method():
    files = {
        "flex_attention-3": {"a": 1.0, "b": 0.0},
        "ensemble_max-10": {"a": 1.0},
        "ensemble_max-2": {"a": 0.0},
        "ensemble_avg-5": {"a": 1.0},
        "ensemble_weighted_avg-2-logprob": {"a": 1.0},
        "ensemble_weighted_avg-3-logprob": {"a": 1.0},
        "diversity/flex_attention-0,2": {"a": 1.0},
        "vote-2": {"a": 1.0},
        "vote-3": {"a": 1.0},
        "origin": {"a": 1.0},
    }
    points = [(p.series, p.num_wordings, p.accuracy.value) for p in curve(None, files).points]
    assert points == [
        ("flex_attention", 3, 0.5),
        ("ensemble_max", 2, 0.0),
        ("ensemble_max", 10, 1.0),
        ("ensemble_weighted_avg-logprob", 2, 1.0),
        ("ensemble_weighted_avg-logprob", 3, 1.0),
    ]


def test_questions_that_a_wording_has_no_answer_to_are_left_out():
    rows = random_rows(10, 3, 3)
    matrix = matrix_of(rows[:-1])
    assert (len(matrix.uuids), matrix.num_left_out) == (9, 1)
    assert curve(matrix, {}).num_left_out == 1


def test_one_wording_and_no_question_make_a_short_curve():
    (point, *_) = curve(matrix_of(random_rows(5, 1, 4)), {}).points
    assert (point.num_wordings, point.num_subsets, point.lowest) == (1, 1, point.highest)
    assert curve(matrix_of([]), {}).points == ()
    (only,) = curve(matrix_of(random_rows(1, 1, 4)), {}).series(VOTE)
    assert isnan(only.accuracy.low)

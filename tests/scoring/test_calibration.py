"""Measures of calibration and ranking against slow versions that follow the definitions."""

from itertools import permutations
from math import ceil, isnan, sqrt
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.errors import UserError
from self_ensemble.scoring.calibration import (
    Levels,
    accuracy,
    accuracy_at_coverage,
    aurc,
    auroc,
    bootstrap_measures,
    brier_score,
    count_levels,
    expected_calibration_error,
    mean_confidence,
    reliability_bins,
    risk_coverage,
)

MEASURES = {
    "accuracy": accuracy,
    "mean_confidence": mean_confidence,
    "ece": expected_calibration_error,
    "brier": brier_score,
    "auroc": auroc,
    "aurc": aurc,
    "at_half": lambda levels: accuracy_at_coverage(levels, 0.5),
}

Answers = list[tuple[int, bool]]  # confidence in hundredths, whether right


def answers(max_size: int = 60) -> st.SearchStrategy[Answers]:
    """Answers with many ties, as sampling gives, or few."""
    hundredths = st.one_of(st.integers(0, 100), st.sampled_from([0, 10, 50, 100]))
    return st.lists(st.tuples(hundredths, st.booleans()), min_size=1, max_size=max_size)


def levels_of(given_: Answers) -> Levels:
    return count_levels([value / 100 for value, _ in given_], [right for _, right in given_])


def orders_of_ties(given_: Answers) -> list[list[bool]]:
    """Right or wrong by falling confidence, for every order of the answers."""
    return [
        [right for _, right in sorted(order, key=lambda answer: -answer[0])]
        for order in permutations(given_)
    ]


@given(answers())
def test_auroc_is_the_share_of_pairs_that_the_right_answer_wins(given_):
    right = [value for value, is_right in given_ if is_right]
    wrong = [value for value, is_right in given_ if not is_right]
    wins = [1 if r > w else 0.5 if r == w else 0 for r in right for w in wrong]
    value = auroc(levels_of(given_))
    assert isnan(value) if not wins else value == pytest.approx(fmean(wins))


@given(answers(max_size=6))
def test_risk_at_each_coverage_is_the_mean_over_all_orders_of_ties(given_):
    orders = orders_of_ties(given_)
    coverage, risk = risk_coverage(levels_of(given_))
    n = len(given_)
    assert coverage == pytest.approx([k / n for k in range(1, n + 1)])
    assert risk == pytest.approx(
        [fmean(1 - fmean(order[:k]) for order in orders) for k in range(1, n + 1)]
    )


@given(answers())
def test_area_under_the_risk_coverage_curve_is_its_mean_risk(given_):
    levels = levels_of(given_)
    assert aurc(levels) == pytest.approx(risk_coverage(levels)[1].mean())


@given(answers(max_size=6), st.sampled_from([0.1, 0.5, 0.55, 0.8, 1.0]))
def test_accuracy_at_coverage_is_the_mean_over_all_orders_of_ties(given_, coverage):
    kept = ceil(round(coverage * 100) * len(given_) / 100)
    expected = fmean(fmean(order[:kept]) for order in orders_of_ties(given_))
    assert accuracy_at_coverage(levels_of(given_), coverage) == pytest.approx(expected)


def test_coverage_is_not_rounded_up_by_an_inexact_product():
    # 0.55 * 100 is 55.00000000000001.
    surest_right = [(100 - i, i < 55) for i in range(100)]
    assert accuracy_at_coverage(levels_of(surest_right), 0.55) == 1


@given(answers(), st.integers(1, 25))
def test_calibration_error_is_the_weighted_gap_of_bins_closed_above(given_, num_bins):
    # In whole numbers: value / 100 is in the bin of (i / M, (i + 1) / M].
    members: dict[int, Answers] = {}
    for value, right in given_:
        members.setdefault(max(0, ceil(value * num_bins / 100) - 1), []).append((value, right))
    gaps = [
        len(group) * abs(fmean(right for _, right in group) - fmean(v / 100 for v, _ in group))
        for group in members.values()
    ]
    levels = levels_of(given_)
    assert expected_calibration_error(levels, num_bins) == pytest.approx(sum(gaps) / len(given_))
    bins = reliability_bins(levels, num_bins)
    assert {i: count for i, count in enumerate(bins.num_answers) if count} == {
        i: len(group) for i, group in members.items()
    }
    for i, group in members.items():
        assert bins.accuracy[i] == pytest.approx(fmean(right for _, right in group))
        assert bins.confidence[i] == pytest.approx(fmean(v / 100 for v, _ in group))
    assert np.isnan(bins.accuracy).sum() == num_bins - len(members)


@given(answers())
def test_brier_score_is_the_mean_squared_distance(given_):
    expected = fmean((value / 100 - right) ** 2 for value, right in given_)
    assert brier_score(levels_of(given_)) == pytest.approx(expected)


@given(answers())
def test_accuracy_and_mean_confidence_are_means_over_answers(given_):
    levels = levels_of(given_)
    assert accuracy(levels) == pytest.approx(fmean(right for _, right in given_))
    assert mean_confidence(levels) == pytest.approx(fmean(v / 100 for v, _ in given_))


@given(st.lists(answers(max_size=8), min_size=1, max_size=5))
def test_measures_of_stacked_counts_are_those_of_each(samples):
    values = sorted({value for sample in samples for value, _ in sample}, reverse=True)

    def counts(sample: Answers, only_right: bool) -> list[float]:
        kept = [value for value, right in sample if right or not only_right]
        return [kept.count(value) for value in values]

    stacked = Levels(
        np.array(values) / 100,
        np.array([counts(sample, False) for sample in samples], dtype=float),
        np.array([counts(sample, True) for sample in samples], dtype=float),
    )
    for measure in MEASURES.values():
        alone = [measure(levels_of(sample)) for sample in samples]
        assert measure(stacked) == pytest.approx(np.array(alone), nan_ok=True)


@given(answers(), st.randoms())
def test_order_of_rows_changes_nothing(given_, random):
    shuffled = list(given_)
    random.shuffle(shuffled)
    for measure in MEASURES.values():
        before, after = measure(levels_of(given_)), measure(levels_of(shuffled))
        assert np.array_equal(before, after, equal_nan=True)


def test_perfect_ranking_and_its_reverse():
    best = levels_of([(90, True), (80, True), (20, False), (10, False)])
    worst = levels_of([(90, False), (80, False), (20, True), (10, True)])
    assert (auroc(best), auroc(worst)) == (1, 0)
    assert (accuracy_at_coverage(best, 0.5), accuracy_at_coverage(worst, 0.5)) == (1, 0)
    assert aurc(best) == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert aurc(worst) == pytest.approx((1 + 1 + 2 / 3 + 2 / 4) / 4)


@pytest.mark.parametrize("num_right", [3, 7])
def test_confidence_that_says_nothing_gives_chance_and_the_error_rate(num_right):
    levels = levels_of([(70, i < num_right) for i in range(10)])
    assert auroc(levels) == 0.5
    assert aurc(levels) == pytest.approx(1 - num_right / 10)
    assert accuracy_at_coverage(levels, 0.5) == pytest.approx(num_right / 10)
    assert expected_calibration_error(levels) == pytest.approx(abs(0.7 - num_right / 10))


def test_certain_and_right_is_free_of_error_and_certain_and_wrong_is_all_error():
    assert expected_calibration_error(levels_of([(100, True), (0, False)])) == 0
    assert brier_score(levels_of([(100, True), (0, False)])) == 0
    assert expected_calibration_error(levels_of([(100, False), (0, True)])) == 1
    assert brier_score(levels_of([(100, False), (0, True)])) == 1


@pytest.mark.parametrize("right", [True, False])
def test_one_class_has_no_auroc_but_all_the_rest(right):
    levels = levels_of([(10, right), (90, right)])
    assert isnan(auroc(levels))
    assert aurc(levels) == 1 - right


def test_no_answers_give_nan():
    empty = count_levels([], [])
    assert all(isnan(measure(empty)) for measure in MEASURES.values())
    assert reliability_bins(empty).num_answers.sum() == 0


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_confidence_that_is_no_fraction_is_refused(confidence):
    with pytest.raises(ValueError, match="must be a number from 0 to 1"):
        count_levels([0.5, confidence], [True, False])


@pytest.mark.parametrize("num_bins", [0, -3])
def test_number_of_bins_below_one_is_refused(num_bins):
    with pytest.raises(UserError, match=f"Got {num_bins} bins. Give 1 or more"):
        expected_calibration_error(count_levels([0.5], [True]), num_bins)


def sample(seed: int, num_questions: int, per_question: int) -> tuple[list, list, list]:
    """Calibrated answers; those to one question are alike."""
    rng = np.random.default_rng(seed)
    ease = np.repeat(rng.random(num_questions), per_question)
    questions = np.repeat(np.arange(num_questions), per_question).astype(str)
    right = rng.random(ease.size) < ease
    return list(np.clip(ease + rng.normal(0, 0.1, ease.size), 0, 1)), list(right), list(questions)


def test_resampled_accuracy_varies_like_a_mean_of_clusters():
    confidences, rights, questions = sample(1, 200, 5)
    drawn = bootstrap_measures(confidences, rights, questions, {"accuracy": accuracy})["accuracy"]
    by_question = np.array(rights).reshape(200, 5).mean(axis=1)
    # 2,000 resamples give a standard deviation to 1.6 %.
    assert drawn.std() == pytest.approx(by_question.std() / sqrt(200), rel=0.06)
    as_if_independent = np.std(rights) / sqrt(1000)
    assert drawn.std() > 1.3 * as_if_independent


def test_resampled_auroc_varies_as_delong_says():
    confidences, rights, questions = sample(2, 300, 1)
    drawn = bootstrap_measures(confidences, rights, questions, {"auroc": auroc})["auroc"]
    pairs = list(zip(confidences, rights, strict=True))
    right = [value for value, is_right in pairs if is_right]
    wrong = [value for value, is_right in pairs if not is_right]
    wins = np.array([[(r > w) + 0.5 * (r == w) for w in wrong] for r in right])
    delong = wins.mean(axis=1).var(ddof=1) / len(right) + wins.mean(axis=0).var(ddof=1) / len(
        wrong
    )
    assert drawn.std() == pytest.approx(sqrt(delong), rel=0.08)
    assert drawn.mean() == pytest.approx(wins.mean(), abs=0.005)


def test_copies_of_every_wording_do_not_change_what_is_drawn():
    confidences, rights, questions = sample(3, 40, 1)
    # Without the accuracy at a coverage: five times as many answers round to another number.
    measures = {name: MEASURES[name] for name in ("accuracy", "ece", "brier", "auroc")}
    once = bootstrap_measures(confidences, rights, questions, measures)
    copies = bootstrap_measures(confidences * 5, rights * 5, questions * 5, measures)
    for name in measures:
        assert copies[name] == pytest.approx(once[name], nan_ok=True)


def test_order_of_rows_does_not_change_what_is_drawn():
    confidences, rights, questions = sample(4, 30, 3)
    backwards = bootstrap_measures(confidences[::-1], rights[::-1], questions[::-1], MEASURES)
    for name, drawn in bootstrap_measures(confidences, rights, questions, MEASURES).items():
        assert drawn.shape == (2000,)
        assert np.array_equal(backwards[name], drawn, equal_nan=True)


def test_large_files_are_resampled_in_parts_alike(monkeypatch):
    confidences, rights, questions = sample(5, 50, 2)
    whole = bootstrap_measures(confidences, rights, questions, MEASURES)
    monkeypatch.setattr("self_ensemble.scoring.calibration._COUNTED_AT_ONCE", 30_000)
    for name, drawn in bootstrap_measures(confidences, rights, questions, MEASURES).items():
        assert drawn == pytest.approx(whole[name], nan_ok=True)

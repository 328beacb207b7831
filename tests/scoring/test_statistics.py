"""Bootstrap intervals against what is known of the mean."""

from math import isnan, sqrt

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from self_ensemble.errors import UserError
from self_ensemble.scoring.statistics import mean_interval, paired_difference, share_interval


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.960), (0.9, 1.645)])
def test_interval_of_many_values_is_the_normal_approximation(confidence, z):
    values = np.random.default_rng(1).random(2000) < 0.3
    estimate = mean_interval(values, confidence)
    half = z * values.std() / sqrt(values.size)
    # 10,000 resamples place a 2.5 % quantile to about 3 % of the half width.
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.08 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.08 * half)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    estimates = [mean_interval(rng.random(150) < 0.3) for _ in range(200)]
    covered = np.mean([estimate.low <= 0.3 <= estimate.high for estimate in estimates])
    # Binomial standard error 1.5 %; the percentile interval runs a little short of 95 %.
    assert 0.89 <= covered <= 0.99


@pytest.mark.parametrize("kinds", [2, 60, 5000])
def test_interval_is_that_of_scipys_bootstrap(kinds):
    values = np.random.default_rng(6).integers(0, kinds, 500) / (kinds - 1)
    ours = mean_interval(values)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    # Both are drawn: the ends of 10,000 resamples lie within a few per cent of the half width.
    tolerance = 0.04 * (ours.high - ours.low)
    assert ours.low == pytest.approx(theirs.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.high, abs=tolerance)


@pytest.mark.parametrize("num_right", [0, 7])
def test_all_right_or_all_wrong_has_the_exact_binomial_interval(num_right):
    estimate = share_interval([float(num_right > 0)] * 7, 0.9)
    exact = binomtest(num_right, 7).proportion_ci(0.9, method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))


def test_share_of_some_right_is_the_bootstrap():
    assert share_interval([0, 1, 1, 0.5]) == mean_interval([0, 1, 1, 0.5])
    assert share_interval([1, 1], clusters=["P1", "P2"])[:3] == (1, 1, 1)
    assert isnan(share_interval([1]).low)


def test_clusters_of_one_question_each_are_no_clusters():
    values = np.random.default_rng(8).random(40)
    assert mean_interval(values, clusters=[str(i) for i in range(40)]) == pytest.approx(
        mean_interval(values), abs=0.01
    )


def in_clusters(seed: int) -> tuple[list[float], list[str]]:
    """Thirty relations of one to nine questions, easy or hard as a whole; half are right."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, 30)
    cluster = np.repeat(np.arange(30), sizes)
    right = rng.random(len(cluster)) < rng.choice([0.1, 0.9], 30)[cluster]
    return right.astype(float).tolist(), [f"P{i}" for i in cluster]


def test_whole_clusters_give_a_wider_interval_where_questions_go_together():
    values, clusters = in_clusters(9)
    alone, together = mean_interval(values), mean_interval(values, clusters=clusters)
    assert together.value == pytest.approx(alone.value)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert 0 < together.low < together.value < together.high < 1


def test_one_cluster_has_no_interval():
    estimate = mean_interval([0, 1, 1], clusters=["P1"] * 3)
    assert estimate.value == pytest.approx(2 / 3)
    assert isnan(estimate.low)


@pytest.mark.slow
def test_intervals_cover_at_the_nominal_rate():
    def covered(make, truth) -> float:
        found = [make(seed) for seed in range(200)]
        return float(np.mean([e.low <= truth <= e.high for e in found]))

    def paired(seed: int):
        ours, base = correlated(seed)
        return paired_difference(ours, base)

    def clustered(seed: int):
        values, clusters = in_clusters(seed)
        return mean_interval(values, clusters=clusters)

    # Binomial standard error of 200 runs 1.5 %; few clusters make a percentile interval short.
    assert 0.91 <= covered(paired, 0.0) <= 0.99
    assert 0.88 <= covered(clustered, 0.5) <= 0.99
    unclustered = covered(lambda seed: mean_interval(in_clusters(seed)[0]), 0.5)
    assert unclustered < 0.75


def correlated(seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Two methods on 400 questions; each question is easy or hard for both."""
    rng = np.random.default_rng(seed)
    ease = rng.choice([0.1, 0.9], 400)
    ours, base = (rng.random((2, 400)) < ease).astype(float)
    return ({str(i): float(value) for i, value in enumerate(scores)} for scores in (ours, base))


def test_paired_difference_of_correlated_scores_is_narrower_than_unpaired():
    ours, base = correlated(3)
    paired = paired_difference(ours, base)
    alone = [mean_interval(list(scores.values())) for scores in (ours, base)]
    unpaired_width = sqrt(sum((estimate.high - estimate.low) ** 2 for estimate in alone))
    assert paired.value == pytest.approx(alone[0].value - alone[1].value)
    assert paired.high - paired.low < 0.75 * unpaired_width


def test_pairs_are_made_by_uuid_and_not_by_order():
    ours, base = correlated(4)
    shuffled = dict(sorted(base.items(), reverse=True))
    assert paired_difference(ours, shuffled) == paired_difference(ours, base)


def test_only_questions_scored_in_both_are_compared():
    estimate = paired_difference({"a": 1, "b": 0, "c": 1}, {"c": 0, "a": 1, "z": 1})
    assert (estimate.value, estimate.n) == (0.5, 2)


def test_order_of_values_does_not_change_the_interval():
    values = np.random.default_rng(5).random(50)
    assert mean_interval(values) == mean_interval(values[::-1])


def test_no_values_give_nan():
    estimate = mean_interval([])
    assert estimate.n == 0
    assert all(map(isnan, estimate[:3]))


def test_one_value_has_no_interval():
    value, low, high, n = mean_interval([1.0])
    assert (value, n) == (1.0, 1)
    assert isnan(low)
    assert isnan(high)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_equal_values_have_an_interval_of_no_width(value):
    assert mean_interval([value] * 7) == (value, value, value, 7)


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_confidence_that_is_no_fraction_is_refused(confidence):
    with pytest.raises(UserError, match="Give a number between 0 and 1"):
        mean_interval([0, 1], confidence)

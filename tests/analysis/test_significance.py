"""Tests and corrections against statsmodels; detectable differences against a simulation."""

from math import isnan, nan

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from self_ensemble.analysis.significance import (
    detectable_difference,
    holm,
    mcnemar_exact,
    standard_error,
)


@pytest.mark.parametrize(("gained", "lost"), [(0, 1), (3, 3), (9, 1), (1, 9), (0, 12), (60, 41)])
def test_mcnemar_is_that_of_statsmodels(gained, lost):
    expected = mcnemar([[50, gained], [lost, 7]], exact=True).pvalue
    assert mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-12)


def test_methods_that_never_differ_have_p_of_one():
    assert mcnemar_exact(0, 0) == 1


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p_values = (np.random.default_rng(seed).random(8) ** 3).tolist()
    p_values[3] = p_values[5]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_rows_without_a_test_do_not_count_in_holm():
    first, none, second = holm([0.01, nan, 0.02])
    assert (first, second) == (0.02, 0.02)
    assert isnan(none)
    assert holm([]) == []


def by_uuid(values) -> dict[str, float]:
    return {f"q{i}": float(value) for i, value in enumerate(values)}


def test_standard_error_is_that_of_scipy():
    values = np.random.default_rng(1).choice([-1, 0, 0, 1], 90)
    expected = values.mean() / ttest_1samp(values, 0).statistic
    assert standard_error(by_uuid(values)) == pytest.approx(expected)


def test_standard_error_of_clusters_is_that_of_statsmodels():
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 12, 90)
    values = rng.normal(size=90) + rng.normal(size=12)[groups]
    fit = OLS(values, np.ones(90)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    clusters = {f"q{i}": str(group) for i, group in enumerate(groups)}
    # statsmodels leaves out the factor G / (G - 1) when it is told not to correct.
    expected = float(fit.bse[0]) * np.sqrt(12 / 11)
    assert standard_error(by_uuid(values), clusters) == pytest.approx(expected)


def test_detectable_difference_is_detected_in_four_of_five_samples():
    rng = np.random.default_rng(3)
    samples = rng.choice([1, -1, 0], p=[0.15, 0.10, 0.75], size=(500, 600))
    detectable = np.mean([detectable_difference(by_uuid(sample)) for sample in samples[:40]])
    # A true difference of that size, a fourth of the questions discordant as before.
    shares = [0.125 + detectable / 2, 0.125 - detectable / 2, 0.75]
    samples = rng.choice([1, -1, 0], p=shares, size=(500, 600))
    detected = [mcnemar_exact((row == 1).sum(), (row == -1).sum()) < 0.05 for row in samples]
    # Standard error 1.8 %; the exact test is a little conservative.
    assert 0.72 <= np.mean(detected) <= 0.84


@pytest.mark.parametrize(("confidence", "least"), [(0.95, 6), (0.99, 8)])
def test_without_any_discordant_question_it_is_what_the_exact_test_needs(confidence, least):
    assert detectable_difference(by_uuid([0] * 100), confidence) == least / 100
    assert mcnemar_exact(0, least) < 1 - confidence <= mcnemar_exact(0, least - 1)


def test_one_question_or_none_can_show_nothing():
    assert isnan(detectable_difference({}))
    assert isnan(detectable_difference({"a": 1.0}))
    assert isnan(standard_error({"a": 1.0, "b": 0.0}, {"a": "P1", "b": "P1"}))

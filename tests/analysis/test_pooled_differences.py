"""Random effects against statsmodels, and folders side by side."""

import sys
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import answers_file

from self_ensemble.analysis.across import across
from self_ensemble.analysis.load import load_folders
from self_ensemble.analysis.loaded import Judging
from self_ensemble.analysis.pooling import random_effects
from self_ensemble.scoring.folders import result_folders


@pytest.mark.parametrize("spread", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_pooled_difference_is_that_of_statsmodels(seed, spread):
    rng = np.random.default_rng(seed)
    effects = rng.normal(0.05, 0.02 + spread, 6)
    variances = rng.uniform(0.0005, 0.004, 6)
    ours = random_effects(effects, variances)
    with np.errstate(invalid="ignore"):
        theirs = combine_effects(effects, variances, method_re="dl")
        frame = theirs.summary_frame()
    # Where data sets differ less than chance has it, statsmodels goes on with a negative variance;
    # DerSimonian and Laird take 0, which gives the fixed effect.
    assert (theirs.tau2 > 0) == (spread > 0)
    row = frame.loc["random effect" if theirs.tau2 > 0 else "fixed effect"]
    assert ours.difference.value == pytest.approx(row["eff"])
    assert ours.difference.low == pytest.approx(row["ci_low"])
    assert ours.difference.high == pytest.approx(row["ci_upp"])
    assert ours.tau**2 == pytest.approx(max(0, theirs.tau2))
    assert ours.i_squared == pytest.approx(max(0, theirs.i2))


def test_one_data_set_is_not_pooled():
    with pytest.raises(ValueError, match="Give two data sets or more"):
        random_effects([0.1], [0.01])


def test_each_model_is_pooled_over_its_data_sets(tmp_path):
    for dataset, ours in (("a", "1111011111"), ("b", "1011001100"), ("c", "0101010101")):
        for model in ("large", "small") if dataset != "c" else ("large",):
            answers_file(tmp_path / dataset / model / "origin.feather", "0101010101")
            answers_file(tmp_path / dataset / model / "vote-3.feather", ours)
    answers_file(tmp_path / "c" / "large" / "max-3.feather", "1111111111")
    found = across(load_folders(result_folders(tmp_path), Judging()), "origin")
    assert found.titles == ("a / large", "a / small", "b / large", "b / small", "c / large")
    values = [estimate.value for estimate in found.accuracies["vote-3"]]
    assert values == [0.9, 0.9, 0.5, 0.5, 0.5]
    assert found.accuracies["max-3"][:4] == (None,) * 4
    pooled = {(row.file, row.model): row.pooled.difference for row in found.pooled}
    assert pooled.keys() == {("vote-3", "large"), ("vote-3", "small")}
    # Data set c, where the two never differ, counts and does not outweigh the others.
    assert pooled["vote-3", "large"].n == 3
    assert 0 < pooled["vote-3", "large"].value < 0.4
    assert pooled["vote-3", "large"].value < pooled["vote-3", "small"].value

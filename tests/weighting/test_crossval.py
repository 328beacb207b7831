"""Folds, and learned against equal weights on questions that were not fitted on."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.errors import UserError
from self_ensemble.scoring.statistics import Estimate
from self_ensemble.weighting.candidates import Candidates
from self_ensemble.weighting.crossval import HeldOut, cross_validate, fold_numbers, learn
from self_ensemble.weighting.pooling import Likelihood, fit_weights, uniform


@pytest.fixture
def tilted(made_up):
    """Factory `(seed, best)`: a question that one wording answers better than the others."""

    def make(seed: int, best: int) -> Candidates:
        question = made_up(seed, num_positions=2)
        logprobs = question.logprobs.copy()
        logprobs[best, question.right] += 3.0
        return Candidates(logprobs, question.starts, question.right)

    return make


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=40), st.integers(2, 5), st.integers())
def test_folds_and_the_parts_of_a_group_are_even(groups, num_folds, seed) -> None:
    folds = fold_numbers(groups, num_folds, seed)
    assert folds == fold_numbers(groups, num_folds, seed)
    for members in [range(len(groups))] + [
        [n for n, name in enumerate(groups) if name == group] for group in set(groups)
    ]:
        counts = Counter(folds[n] for n in members)
        sizes = [counts[fold] for fold in range(num_folds)]
        assert max(sizes) - min(sizes) <= 1


def test_folds_depend_on_the_seed() -> None:
    assert fold_numbers(["all"] * 20, 5, seed=0) != fold_numbers(["all"] * 20, 5, seed=1)


def test_a_group_is_fitted_on_its_own_questions(tilted) -> None:
    questions = [tilted(n, best=n % 2) for n in range(20)]
    groups = ["even" if n % 2 == 0 else "odd" for n in range(20)]
    learned = learn(questions, groups)
    assert learned.weights == {
        "even": fit_weights(questions[::2]).weights,
        "odd": fit_weights(questions[1::2]).weights,
    }
    each = [
        Likelihood([question]).each(learned.weights[group])[0]
        for question, group in zip(questions, groups, strict=True)
    ]
    assert learned.nll == pytest.approx(np.mean(each))
    assert learned.nll_uniform == pytest.approx(Likelihood(questions).each(uniform(3)).mean())


def test_every_question_is_judged_by_weights_of_the_other_folds(tilted) -> None:
    questions = [tilted(n, best=n % 3) for n in range(12)]
    groups, folds = ["all"] * 12, fold_numbers(["all"] * 12, 3, seed=7)
    expected = []
    for n, question in enumerate(questions):
        others = [q for m, q in enumerate(questions) if folds[m] != folds[n]]
        expected.append(Likelihood([question]).each(fit_weights(others).weights)[0])
    held_out = cross_validate(questions, groups, 3, seed=7)
    assert held_out.learned == pytest.approx(np.mean(expected))
    assert held_out.uniform == pytest.approx(Likelihood(questions).each(uniform(3)).mean())
    assert held_out.difference.value == pytest.approx(held_out.learned - held_out.uniform)
    assert held_out.difference.n == 12


def test_a_better_wording_is_favoured_and_chance_is_not(tilted, made_up) -> None:
    better = [tilted(n, best=1) for n in range(40)]
    assert cross_validate(better, ["all"] * 40, 5, seed=0).favours_learned
    alike = [made_up(n) for n in range(40)]
    assert not cross_validate(alike, ["all"] * 40, 5, seed=0).favours_learned


@pytest.mark.parametrize(("high", "favoured"), [(-0.01, True), (0.01, False), (math.nan, False)])
def test_the_whole_interval_must_favour_learned_weights(high, favoured) -> None:
    difference = Estimate(-0.1, -0.2, high, 9)
    assert HeldOut(5, 1.0, 1.1, difference).favours_learned is favoured


def test_a_question_alone_in_its_group_is_not_judged(made_up) -> None:
    questions = [made_up(n) for n in range(5)]
    held_out = cross_validate(questions, ["a", "a", "a", "a", "b"], 2, seed=0)
    assert held_out.difference.n == 4
    nothing = cross_validate(questions, list("abcde"), 2, seed=0)
    assert nothing.difference.n == 0
    assert math.isnan(nothing.learned)
    assert not nothing.favours_learned


@pytest.mark.parametrize("num_folds", [1, 0, 6])
def test_an_impossible_number_of_folds_is_refused(made_up, num_folds) -> None:
    with pytest.raises(UserError, match=f"Got --folds {num_folds} for 5 questions"):
        cross_validate([made_up(n) for n in range(5)], ["all"] * 5, num_folds, seed=0)

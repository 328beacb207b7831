"""Maximum-likelihood weights: the objective, its gradient, the minimum, and what must hold."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from self_ensemble.walking.fusion import weighted_avg
from self_ensemble.weighting.candidates import Candidates
from self_ensemble.weighting.pooling import Likelihood, fit_weights, uniform

SEEDS = st.integers(0, 10_000)
WEIGHTS = st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3)


def on_simplex(weights) -> np.ndarray:
    return np.array(weights) / sum(weights)


def rows(question: Candidates) -> list[tuple[np.ndarray, int]]:
    """Position by position: log-probabilities `(N, V)` and the right token."""
    ends = [*question.starts[1:], question.logprobs.shape[1]]
    return [
        (question.logprobs[:, start:end], right - start)
        for start, end, right in zip(question.starts, ends, question.right, strict=True)
    ]


@given(SEEDS, WEIGHTS, st.floats(0.1, 50.0))
def test_the_likelihood_is_that_of_weighted_avg_at_any_scale(made_up, seed, weights, scale):
    questions = [made_up(seed), made_up(seed + 1, num_positions=3)]
    ours = Likelihood(questions).each(on_simplex(weights))
    scaled = torch.tensor(weights, dtype=torch.float64) * scale
    for question, nll in zip(questions, ours, strict=True):
        expected = 0.0
        for logprobs, right in rows(question):
            # Raw logits: a constant of its own on each wording changes nothing.
            logits = torch.from_numpy(logprobs) + torch.tensor([[1.0], [-2.0], [5.0]])
            expected -= weighted_avg(logits, scaled).log_softmax(dim=-1)[right].item()
        assert nll == pytest.approx(expected, abs=1e-9)


@given(SEEDS, WEIGHTS)
def test_the_gradient_is_that_of_finite_differences(made_up, seed, weights):
    likelihood = Likelihood([made_up(seed), made_up(seed + 1, num_positions=4)])
    at = on_simplex(weights)
    mean, gradient = likelihood.mean_and_gradient(at)
    assert mean == pytest.approx(likelihood.each(at).mean())
    for n in range(3):
        step = np.eye(3)[n] * 1e-6
        above, _ = likelihood.mean_and_gradient(at + step)
        below, _ = likelihood.mean_and_gradient(at - step)
        assert gradient[n] == pytest.approx((above - below) / 2e-6, abs=1e-5)


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 3), st.integers(1, 6))
def test_no_weights_on_a_fine_grid_are_better(made_up, seed, num_wordings, num_questions):
    questions = [made_up(seed + n, num_wordings) for n in range(num_questions)]
    fit = fit_weights(questions)
    likelihood = Likelihood(questions)
    assert fit.nll == pytest.approx(likelihood.each(fit.weights).mean())
    parts = 50
    for grid in itertools.product(range(parts + 1), repeat=num_wordings - 1):
        if sum(grid) <= parts:
            weights = np.array([*grid, parts - sum(grid)]) / parts
            assert fit.nll <= likelihood.each(weights).mean() + 1e-4


@given(SEEDS, st.integers(2, 8), st.integers(1, 8), st.floats(0.1, 30.0))
def test_fitted_weights_are_on_the_simplex(made_up, seed, num_wordings, num_questions, spread):
    questions = [made_up(seed + n, num_wordings, spread=spread) for n in range(num_questions)]
    weights = fit_weights(questions).weights
    assert len(weights) == num_wordings
    assert min(weights) >= 0.0
    assert sum(weights) == pytest.approx(1.0, abs=1e-12)


@given(SEEDS, WEIGHTS)
def test_equal_wordings_are_as_likely_with_any_weights(made_up, seed, weights):
    one = made_up(seed, num_wordings=1)
    three = Candidates(np.repeat(one.logprobs, 3, axis=0), one.starts, one.right)
    ours, alone = Likelihood([three]).each(on_simplex(weights)), Likelihood([one]).each([1.0])
    assert ours == pytest.approx(alone, abs=1e-9)
    assert fit_weights([three]).weights == pytest.approx(uniform(3), abs=1e-6)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_a_wording_that_is_always_right_gets_all_the_weight(made_up, best):
    questions = []
    for seed in range(10):
        question = made_up(seed)
        logprobs = question.logprobs.copy()
        logprobs[best] = -30.0
        logprobs[best, question.right] = 0.0
        questions.append(Candidates(logprobs, question.starts, question.right))
    weights = fit_weights(questions).weights
    assert weights[best] == max(weights)
    assert weights[best] > 0.9


@settings(max_examples=30)
@given(SEEDS, st.permutations(range(4)))
def test_permuted_wordings_get_permuted_weights(made_up, seed, order):
    questions = [made_up(seed + n, num_wordings=4, num_positions=3) for n in range(12)]
    permuted = [Candidates(q.logprobs[list(order)], q.starts, q.right) for q in questions]
    weights, moved = fit_weights(questions).weights, fit_weights(permuted).weights
    # The minimum is flat: weights are found to about the root of the precision of the value.
    assert moved == pytest.approx([weights[n] for n in order], abs=5e-3)


def test_the_number_of_questions_does_not_scale_the_likelihood(made_up):
    once = [made_up(n) for n in range(4)]
    assert fit_weights(once * 3).weights == pytest.approx(fit_weights(once).weights, abs=1e-4)
    assert fit_weights(once * 3).nll == pytest.approx(fit_weights(once).nll, abs=1e-8)

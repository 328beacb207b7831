"""Weights of wordings by maximum likelihood of right answers under log-linear pooling.

N wordings, Q questions, v a token, y the right one, w_i >= 0 with sum 1:

    log p_w(y) = sum_i w_i log p_i(y) - log sum_v exp(sum_i w_i log p_i(v))

is the distribution that `weighted_avg` decodes from (it scales weights to sum 1). Pooling of
opinions in logarithms: Genest and Zidek 1986, "Combining Probability Distributions: A Critique
and an Annotated Bibliography"; weights chosen by likelihood: Heskes 1998, "Selecting Weighting
Factors in Logarithmic Opinion Pools"; a product of experts: Hinton 2002, "Training Products of
Experts by Minimizing Contrastive Divergence".

The negative log-likelihood is a linear function of w plus log-sum-exps of linear ones, so it is
convex, and a minimum on the simplex is the minimum. The fit is SLSQP, which keeps to the simplex
and so reaches weights of exactly 0; a softmax parametrisation would have them at infinity.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize

from self_ensemble.weighting.candidates import Candidates

MAX_GAP = 1e-3  # nats per question by which fitted weights may miss the minimum

_Floats = NDArray[np.float64]


class Fit(NamedTuple):
    """Fitted weights.

    Attributes:
        weights: From 0, to sum 1, `(N,)`.
        nll: Mean negative log-likelihood of the right answers with them, nats per question.
    """

    weights: tuple[float, ...]
    nll: float


class Likelihood:
    """The negative log-likelihood of some questions' right answers, as a function of weights."""

    def __init__(self, questions: Sequence[Candidates]) -> None:
        """Lay the questions' candidates side by side.

        Args:
            questions: At least one, all with the same number of wordings.
        """
        widths = [question.logprobs.shape[1] for question in questions]
        shifts = np.cumsum([0, *widths[:-1]])
        self.logprobs = np.concatenate([question.logprobs for question in questions], axis=1)
        self.starts = np.concatenate(
            [question.starts + shift for question, shift in zip(questions, shifts, strict=True)]
        )
        self.right = np.concatenate(
            [question.right + shift for question, shift in zip(questions, shifts, strict=True)]
        )
        lengths = [len(question.starts) for question in questions]
        self.first_positions = np.cumsum([0, *lengths[:-1]])
        self.sizes = np.diff([*self.starts, self.logprobs.shape[1]])

    @property
    def num_wordings(self) -> int:
        """N."""
        return len(self.logprobs)

    def each(self, weights: Sequence[float] | _Floats) -> _Floats:
        """Negative log-likelihood of each question's right answer, in nats, `(Q,)`."""
        scores, totals = self._pooled(np.asarray(weights))
        return np.add.reduceat(totals - scores[self.right], self.first_positions)

    def mean_and_gradient(self, weights: _Floats) -> tuple[float, _Floats]:
        """Mean over questions, and its derivative by each weight, `(N,)`."""
        scores, totals = self._pooled(weights)
        probs = np.exp(scores - np.repeat(totals, self.sizes))
        expected = self.logprobs @ probs
        num_questions = len(self.first_positions)
        gradient = (expected - self.logprobs[:, self.right].sum(axis=1)) / num_questions
        return float((totals - scores[self.right]).sum() / num_questions), gradient

    def _pooled(self, weights: _Floats) -> tuple[_Floats, _Floats]:
        """Unnormalised pooled log-probabilities of candidates, and each position's log-sum-exp."""
        scores = weights @ self.logprobs
        largest = np.maximum.reduceat(scores, self.starts)
        sums = np.add.reduceat(np.exp(scores - np.repeat(largest, self.sizes)), self.starts)
        return scores, largest + np.log(sums)


def uniform(num_wordings: int) -> tuple[float, ...]:
    """1/N each."""
    return (1.0 / num_wordings,) * num_wordings


def fit_weights(questions: Sequence[Candidates]) -> Fit:
    """Find the weights under which the right answers are most likely.

    Args:
        questions: At least one, all with the same number of wordings.
    """
    likelihood = Likelihood(questions)
    num_wordings = likelihood.num_wordings
    found = minimize(
        likelihood.mean_and_gradient,
        np.array(uniform(num_wordings)),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * num_wordings,
        constraints=LinearConstraint(np.ones((1, num_wordings)), 1.0, 1.0),
        options={"ftol": 1e-12, "maxiter": 500},
    )
    weights = np.clip(found.x, 0.0, 1.0)
    weights /= weights.sum()
    nll, gradient = likelihood.mean_and_gradient(weights)
    # Frank and Wolfe 1956: a convex function on the simplex lies above its tangent, whose
    # minimum is at a corner, so this bounds the distance to the minimum, whatever SLSQP reports.
    gap = float(gradient @ weights - gradient.min())
    assert gap <= MAX_GAP, f"SLSQP stopped {gap} nats above the minimum: {found.message}"
    return Fit(tuple(weights.tolist()), nll)

"""Do learned weights carry over to questions that they were not fitted on? k-fold answers."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from self_ensemble.errors import UserError
from self_ensemble.scoring.statistics import Estimate, mean_interval
from self_ensemble.weighting.candidates import Candidates
from self_ensemble.weighting.pooling import Likelihood, fit_weights, uniform


class Learned(NamedTuple):
    """Weights fitted on all questions of a dev set.

    Attributes:
        weights: For each group of questions, `(N,)` each.
        nll: Mean negative log-likelihood of the same questions' right answers, nats a question.
        nll_uniform: As `nll`, with 1/N.
    """

    weights: dict[str, tuple[float, ...]]
    nll: float
    nll_uniform: float


class HeldOut(NamedTuple):
    """Cross-validation: weights fitted on the other folds, in nats per question.

    Attributes:
        num_folds: Number of folds.
        learned: Mean negative log-likelihood with learned weights.
        uniform: As `learned`, with 1/N.
        difference: Mean of learned minus uniform with its 95 % interval, paired by question.
    """

    num_folds: int
    learned: float
    uniform: float
    difference: Estimate

    @property
    def favours_learned(self) -> bool:
        """Whether the whole interval is on the side of the learned weights."""
        return self.difference.high < 0


def learn(questions: Sequence[Candidates], groups: Sequence[str]) -> Learned:
    """Fit one weight vector per group.

    Args:
        questions: The dev set, one entry per question.
        groups: Group of each question.
    """
    weights: dict[str, tuple[float, ...]] = {}
    learned = np.zeros(len(questions))
    plain = np.zeros(len(questions))
    for group in dict.fromkeys(groups):
        places = [n for n, name in enumerate(groups) if name == group]
        members = [questions[n] for n in places]
        weights[group] = fit_weights(members).weights
        likelihood = Likelihood(members)
        learned[places] = likelihood.each(weights[group])
        plain[places] = likelihood.each(uniform(likelihood.num_wordings))
    return Learned(weights, float(learned.mean()), float(plain.mean()))


def cross_validate(
    questions: Sequence[Candidates], groups: Sequence[str], num_folds: int, seed: int
) -> HeldOut:
    """Compare learned with uniform weights on questions that the fit has not seen.

    A group's questions are spread over the folds. Questions whose group has no other question
    outside their fold are left out: there is nothing to learn their weights from.

    Args:
        questions: The dev set, one entry per question.
        groups: Group of each question.
        num_folds: How many parts the dev set is split into.
        seed: Seed of the split.

    Raises:
        UserError: Fewer than two folds, or fewer questions than folds.
    """
    check_folds(num_folds, len(questions))
    folds = fold_numbers(groups, num_folds, seed)
    learned: list[float] = []
    plain: list[float] = []
    for group in dict.fromkeys(groups):
        for fold in range(num_folds):
            mine = [n for n, name in enumerate(groups) if name == group]
            held_out = [questions[n] for n in mine if folds[n] == fold]
            others = [questions[n] for n in mine if folds[n] != fold]
            if held_out and others:
                likelihood = Likelihood(held_out)
                learned += likelihood.each(fit_weights(others).weights).tolist()
                plain += likelihood.each(uniform(likelihood.num_wordings)).tolist()
    differences = [ours - theirs for ours, theirs in zip(learned, plain, strict=True)]
    return HeldOut(
        num_folds,
        mean_interval(learned).value,
        mean_interval(plain).value,
        mean_interval(differences),
    )


def check_folds(num_folds: int, num_questions: int) -> None:
    """Refuse a number of folds that a dev set cannot be split into."""
    if not 2 <= num_folds <= num_questions:
        raise UserError(
            f"Got --folds {num_folds} for {num_questions} questions. Give 2 or more, at most "
            "one per question.",
            "SE-0010",
        )


def fold_numbers(groups: Sequence[str], num_folds: int, seed: int) -> list[int]:
    """Fold of each question; sizes of folds, and of a group's parts, differ by one at most."""
    order = list(range(len(groups)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda n: groups[n])
    folds = [0] * len(groups)
    for place, n in enumerate(order):
        folds[n] = place % num_folds
    return folds

"""Learned weights and what they are worth, as tables."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from self_ensemble.weighting.crossval import HeldOut, Learned


def weights_table(indices: Sequence[int], learned: Learned) -> Table:
    """The weight of each wording; over several relations its mean and range.

    Args:
        indices: Indices of the wordings, in the order of the weights.
        learned: The weights.
    """
    matrix = np.array(list(learned.weights.values()))
    if len(matrix) == 1:
        table = Table("wording", "weight")
        for index, weight in zip(indices, matrix[0], strict=True):
            table.add_row(str(index), f"{weight:.3f}")
        return table
    table = Table("wording", "mean weight", "least", "most")
    table.title = f"weights of {len(matrix)} relations"
    for index, column in zip(indices, matrix.T, strict=True):
        cells = [f"{value:.3f}" for value in (column.mean(), column.min(), column.max())]
        table.add_row(str(index), *cells)
    return table


def likelihood_table(learned: Learned, held_out: HeldOut, num_questions: int) -> Table:
    """How likely the right answers are with learned and with equal weights.

    Args:
        learned: Weights fitted on all questions.
        held_out: Their cross-validation.
        num_questions: Number of questions fitted on.
    """
    table = Table("-log p(right answer), nats", "questions", "learned", "equal", "difference")
    table.add_row(
        "questions fitted on",
        str(num_questions),
        f"{learned.nll:.3f}",
        f"{learned.nll_uniform:.3f}",
        f"{learned.nll - learned.nll_uniform:+.3f}",
    )
    value, low, high, n = held_out.difference
    table.add_row(
        f"held out, {held_out.num_folds} folds",
        str(n),
        f"{held_out.learned:.3f}",
        f"{held_out.uniform:.3f}",
        f"{value:+.3f} [{low:+.3f}, {high:+.3f}]",
    )
    return table

"""Answers of wordings, made at random, for the tests of votes, curves and robustness."""

import numpy as np

from self_ensemble.analysis.wording_matrix import WordingMatrix, wording_matrix
from self_ensemble.scoring.files import ResultRow
from self_ensemble.scoring.scores import score_rows

# Two spellings of one answer, an empty one, and a wrong one.
ANSWERS = ("Rome", "rome.", "Oslo", "Bonn", "")


def random_rows(num_questions: int, num_wordings: int, seed: int) -> list[ResultRow]:
    """Rows of `per_prompt`; probabilities are few, so that there are ties."""
    rng = np.random.default_rng(seed)
    return [
        ResultRow(
            uuid=f"q{question}",
            answers=("Rome",),
            prediction=str(rng.choice(ANSWERS)),
            paraphrase_index=wording,
            mean_logprob=float(rng.choice([-0.5, -1.0, -2.0])),
            wordings=(f"Wording w{wording} of {question % 3} things",),
        )
        for question in range(num_questions)
        for wording in range(num_wordings)
    ]


def matrix_of(rows: list[ResultRow]) -> WordingMatrix:
    return wording_matrix(rows, score_rows(rows, str.split))

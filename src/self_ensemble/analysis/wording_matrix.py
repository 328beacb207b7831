"""Every question with every wording's own answer, as arrays: what votes and oracles are made of.

Q questions that every wording has an answer to, N wordings
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from self_ensemble.scoring.calibration_table import ROUNDING
from self_ensemble.scoring.files import ResultRow
from self_ensemble.scoring.normalise import normalise
from self_ensemble.scoring.scores import FileScores

PER_PROMPT = "per_prompt"

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WordingMatrix:
    """The answers of a `per_prompt` file.

    Attributes:
        uuids: The questions, `(Q,)`.
        indices: The wordings, as they are numbered in the file, `(N,)`.
        right: Whether each answer is right, `(Q, N)`.
        answer: Which answer it is: equal numbers in a row are equal answers once normalised; an
            empty answer is -1, `(Q, N)`.
        prob: exp(mean log-probability) of the answer's tokens; 0 where it is not known, or above
            1, `(Q, N)`.
        wordings: The text of each wording, `(Q, N)`; "" where it is not known.
        num_left_out: Questions that some wording has no answer to.
    """

    uuids: tuple[str, ...]
    indices: tuple[int, ...]
    right: Bools
    answer: Ints
    prob: Floats
    wordings: tuple[tuple[str, ...], ...]
    num_left_out: int


def wording_matrix(rows: Sequence[ResultRow], scores: FileScores) -> WordingMatrix:
    """Put the rows of a `per_prompt` file side by side, question by question."""
    indices = scores.paraphrase_indices
    row_of = {(row.uuid, row.paraphrase_index): row for row in rows}
    score_of = {(score.uuid, score.paraphrase_index): score for score in scores.rows}
    uuids = tuple(dict.fromkeys(row.uuid for row in rows))
    whole = tuple(
        uuid for uuid in uuids if indices and all((uuid, index) in score_of for index in indices)
    )
    shape = (len(whole), len(indices))
    asked = [[row_of[uuid, index] for index in indices] for uuid in whole]
    right = [[score_of[uuid, index].accuracy > 0 for index in indices] for uuid in whole]
    logprob = np.array([[row.mean_logprob for row in line] for line in asked]).reshape(shape)
    # Above 0 it is no log-probability, so that nothing is known.
    known = np.where(logprob > ROUNDING, np.nan, logprob)
    return WordingMatrix(
        uuids=whole,
        indices=indices,
        right=np.array(right, dtype=bool).reshape(shape),
        answer=np.array([_numbered(line) for line in asked], dtype=np.int64).reshape(shape),
        prob=np.nan_to_num(np.exp(known), nan=0.0),
        wordings=tuple(tuple((row.wordings or ("",))[0] for row in line) for line in asked),
        num_left_out=len(uuids) - len(whole),
    )


def vote_winners(matrix: WordingMatrix, subset: Sequence[int]) -> Ints:
    """Which wording's answer wins a vote of some of the wordings, for all questions at once.

    The rules are those of `scoring.vote.vote`: most votes, then the larger sum of probabilities,
    then the answer given first; among those who gave it the most probable, then the first.

    Args:
        matrix: The answers.
        subset: Columns of the matrix, in order.

    Returns:
        Columns of the matrix, `(Q,)`.
    """
    chosen = np.asarray(subset)
    answer, prob = matrix.answer[:, chosen], matrix.prob[:, chosen]
    same = answer[:, :, None] == answer[:, None, :]
    votes = same.sum(2)
    # An empty answer votes only if all are empty.
    votes[(answer == -1) & (answer != -1).any(1, keepdims=True)] = 0
    leading = votes == votes.max(1, keepdims=True)
    mass = np.where(leading, (same * prob[:, None, :]).sum(2), -1.0)
    first = (mass == mass.max(1, keepdims=True)).argmax(1)
    voters = answer == np.take_along_axis(answer, first[:, None], 1)
    winners: Ints = chosen[np.where(voters, prob, -1.0).argmax(1)].astype(np.int64)
    return winners


def pairwise_agreement(matrix: WordingMatrix) -> Floats:
    """Share of the pairs of wordings that give the same answer, `(Q,)`; nan for one wording."""
    num_wordings = len(matrix.indices)
    if num_wordings < 2:
        return np.full(len(matrix.uuids), np.nan)
    same = matrix.answer[:, :, None] == matrix.answer[:, None, :]
    pairs = num_wordings * (num_wordings - 1)
    agreement: Floats = (same.sum((1, 2)) - num_wordings) / pairs
    return agreement


def _numbered(line: Sequence[ResultRow]) -> list[int]:
    numbers = {"": -1}
    texts = [normalise(row.prediction or "") for row in line]
    return [numbers.setdefault(text, len(numbers)) for text in texts]

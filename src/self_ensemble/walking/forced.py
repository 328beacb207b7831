"""Teacher forcing: what every stream predicts while it is fed a given answer.

B answers, mostly one of each question of a batch, R of them with a token left, N streams of each,
V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from self_ensemble.passes.batch import Batch, Frontier, advance


class ForcedStep(NamedTuple):
    """One position of the given answers.

    Attributes:
        rows_R: Which answers have a token here, ascending.
        tokens_R: That token.
        logits_RNV: What each stream predicts for it, float32, on the model's device.
    """

    rows_R: Tensor
    tokens_R: Tensor
    logits_RNV: Tensor


def forced_steps(
    batch: Batch,
    frontier: Frontier,
    answers: Sequence[Sequence[int]],
    questions: Sequence[int] | None = None,
) -> Iterator[ForcedStep]:
    """Feed every stream of a question the tokens of the question's answer, one at a time.

    Logits of one position are alive at a time, as in decoding, so a batch that can be decoded
    can be forced.

    Args:
        batch: The prefilled batch.
        frontier: Its nodes: the same number of streams for each question.
        answers: Token ids of each answer, `(B,)`; none of them empty.
        questions: The question that each answers, `(B,)`, as several may answer one; what such
            begin with alike is computed once. None: the first answer is the first question's, ...

    Yields:
        The positions from the first; the last token of an answer is predicted and not fed.
    """
    assert all(answers), "an answer needs a token"
    of_B = list(range(len(answers)) if questions is None else questions)
    num_questions = len(set(frontier.rows_M.tolist()))
    nodes_BN = torch.arange(len(frontier.rows_M)).reshape(num_questions, -1)[of_B]
    step = 0
    while any(len(answer) > step for answer in answers):
        rows_R = _rows_longer_than(answers, step)
        tokens_R = torch.tensor([answers[row][step] for row in rows_R.tolist()])
        yield ForcedStep(rows_R, tokens_R, frontier.logits_of(nodes_BN[rows_R]))
        step += 1
        going_on = _rows_longer_than(answers, step)
        if len(going_on):
            nodes = nodes_BN[going_on]
            fed = torch.tensor([answers[row][step - 1] for row in going_on.tolist()])
            tokens = fed[:, None].expand(nodes.shape)
            frontier, new_nodes = advance(batch, frontier, nodes.flatten(), tokens.flatten())
            nodes_BN[going_on] = new_nodes.reshape(nodes.shape)


def _rows_longer_than(answers: Sequence[Sequence[int]], length: int) -> Tensor:
    return torch.tensor([row for row, answer in enumerate(answers) if len(answer) > length])

"""Teacher forcing: what every stream predicts while it is fed a given answer.

B answers, mostly one of each question of a batch, R of them with a token left, N streams of each,
V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from self_ensemble.passes.batch import Batch, Frontier, Move, children, feed_levels, rows_of


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
    *,
    at_once: int = 1,
) -> Iterator[ForcedStep]:
    """Feed every stream of a question the tokens of the question's answer.

    By default one position after the other goes through the model, and its logits alone are
    alive, as in decoding: a batch that can be decoded can be forced. But all tokens are known, and
    none reads a later one, so several positions can share a pass.

    Args:
        batch: The prefilled batch.
        frontier: Its nodes: the same number of streams for each question.
        answers: Token ids of each answer, `(B,)`; none of them empty.
        questions: The question that each answers, `(B,)`, as several may answer one; what such
            begin with alike is computed once. None: the first answer is the first question's, ...
        at_once: As many positions share a pass as have no more logits than of so many tokens, one
            at least. Where something is not finite, earlier positions of its pass may not be.

    Yields:
        The positions from the first; the last token of an answer is predicted and not fed.
    """
    assert all(answers), "an answer needs a token"
    of_B = list(range(len(answers)) if questions is None else questions)
    num_questions = len(set(frontier.rows_M.tolist()))
    nodes_BN = torch.arange(len(frontier.rows_M)).reshape(num_questions, -1)[of_B]
    every = torch.arange(len(answers))
    yield ForcedStep(every, _tokens_at(answers, every, 0), frontier.logits_of(nodes_BN))
    for places in _sharing_a_pass(answers, nodes_BN.shape[1], at_once):
        levels = []
        for place in places:
            rows_R = _rows_longer_than(answers, place)
            nodes_RN = nodes_BN[rows_R]
            fed = _tokens_at(answers, rows_R, place - 1)[:, None].expand(nodes_RN.shape)
            levels.append(children(Move(batch, frontier, nodes_RN.flatten(), fed.flatten())))
            frontier = levels[-1].frontier(frontier.logits_MV[:0])  # they come with the pass
            nodes_BN[rows_R] = levels[-1].of_walker.view(nodes_RN.shape)
        logits_MV, of_levels = feed_levels(batch, levels)
        for place, of_walker in zip(places, of_levels, strict=True):
            rows_R = _rows_longer_than(answers, place)
            logits_RNV = rows_of(logits_MV, of_walker.view(len(rows_R), -1))
            yield ForcedStep(rows_R, _tokens_at(answers, rows_R, place), logits_RNV)


def _sharing_a_pass(
    answers: Sequence[Sequence[int]], num_streams: int, at_once: int
) -> Iterator[range]:
    """Positions behind the first, some at a time."""
    longest = max(map(len, answers))
    sizes = [num_streams * len(_rows_longer_than(answers, place)) for place in range(longest)]
    start = 1
    while start < longest:
        end = start + 1
        while end < longest and sum(sizes[start : end + 1]) <= at_once:
            end += 1
        yield range(start, end)
        start = end


def _tokens_at(answers: Sequence[Sequence[int]], rows: Tensor, place: int) -> Tensor:
    return torch.tensor([answers[row][place] for row in rows.tolist()])


def _rows_longer_than(answers: Sequence[Sequence[int]], length: int) -> Tensor:
    return torch.tensor([row for row, answer in enumerate(answers) if len(answer) > length])

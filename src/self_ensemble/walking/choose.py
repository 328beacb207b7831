"""One token from a distribution: greedy, or sampled with temperature and nucleus."""

import math

import torch
from torch import Tensor

from self_ensemble.walking.sampling import Sampling

# Distributions at a time, 50 MB for a vocabulary of 49,152; a CPU is given fewer at once.
SAMPLED_AT_ONCE = 256
BLOCK = 256  # tokens that are summed, or compared, before any of them is looked at
WORTH_COMPARING = 16  # the smallest such block; an odd vocabulary has none
NUCLEUS_GUESS = 1024  # most probable tokens that are looked at before the whole vocabulary


def choose(
    scores_MV: Tensor, draws_A: Tensor, sampling: Sampling, of_A: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Choose one token for each of A answers, from M distributions that they may share.

    Args:
        scores_MV: Unnormalised log-probabilities.
        draws_A: One uniform draw for each answer; not read when greedy.
        sampling: Greedy or sampled.
        of_A: The distribution that each answer draws from; None for one of its own each.

    Returns:
        Token ids `(A,)` and their log-probabilities at temperature 1 `(A,)`, both on the CPU.
        Where the chosen score or the normaliser is not finite, no log-probability is, and the
        token means nothing.
    """
    of_A = torch.arange(len(scores_MV)) if of_A is None else of_A
    if sampling.temperature == 0.0:
        tokens_M, logprobs_M = greedy(scores_MV)
        return tokens_M.cpu()[of_A], logprobs_M.cpu()[of_A]
    totals_M = scores_MV.logsumexp(dim=-1).cpu()
    is_finite_M = totals_M.isfinite()
    tokens_A = torch.zeros(len(of_A), dtype=torch.long)
    for start in range(0, len(scores_MV), SAMPLED_AT_ONCE):
        end = start + SAMPLED_AT_ONCE
        here = ((of_A >= start) & (of_A < end) & is_finite_M[of_A]).nonzero()[:, 0]
        if len(here):
            # On the CPU, because not every device has float64.
            probs = _probabilities(scores_MV[start:end].cpu(), sampling.temperature)
            tokens_A[here] = _draw(probs, of_A[here] - start, draws_A[here], sampling.top_p)
    chosen_A = scores_MV[of_A.to(scores_MV.device), tokens_A.to(scores_MV.device)].cpu()
    return tokens_A, chosen_A - totals_M[of_A]


def _probabilities(scores_MV: Tensor, temperature: float) -> Tensor:
    """Softmax of the scores over the temperature, `(M, V)` float32; no finite row becomes nan."""
    probs_MV = (scores_MV.float() / temperature).softmax(dim=-1)
    too_large = probs_MV[:, 0].isnan()
    if bool(too_large.any()):
        # Scores beyond float32 once they are divided; relative to the best one they are not.
        scores = scores_MV[too_large].double()
        relative = (scores - scores.amax(dim=-1, keepdim=True)) / temperature
        probs_MV[too_large] = relative.softmax(dim=-1).float()
    return probs_MV


def greedy(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best tokens of `(..., V)` and their log-probabilities, both `(...)`, on the device.

    The largest of scores with nan among them is nan, and the normaliser of scores with infinity
    among them is infinite: a log-probability is finite if the score and the normaliser are.
    """
    best, tokens = largest(scores)
    return tokens, best - scores.logsumexp(dim=-1)


def largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of `(..., V)` and the first place where it stands, both `(...)`.

    This is `max(dim=-1)`, which on a CPU looks at one place after the other. There places are
    looked for among the largest of all blocks, and then inside of one block.
    """
    block = math.gcd(scores.shape[-1], BLOCK)
    if scores.device.type != "cpu" or block < WORTH_COMPARING:
        best, places = scores.max(dim=-1)
        return best, places
    blocks = scores.view(*scores.shape[:-1], -1, block)
    best, index = blocks.amax(dim=-1).max(dim=-1)
    inside = blocks.take_along_dim(index[..., None, None], dim=-2).squeeze(-2)
    return best, index * block + inside.argmax(dim=-1)


def _draw(probs_MV: Tensor, of_A: Tensor, draws_A: Tensor, top_p: float) -> Tensor:
    """The tokens at which the cumulated probability passes the draws, `(A,)`."""
    if top_p == 1.0:
        return _inverse_cdf(probs_MV, of_A, draws_A)
    probs_MK, tokens_MK = _nucleus(probs_MV.double(), top_p)
    return tokens_MK[of_A, _inverse_cdf(probs_MK, of_A, draws_A)]


def _inverse_cdf(weights_MV: Tensor, of_A: Tensor, draws_A: Tensor) -> Tensor:
    """Inverse transform sampling, first among blocks of tokens, then inside one; places `(A,)`.

    The sums are float64, and only the block that a draw falls into is cumulated token by token.
    """
    size = weights_MV.shape[-1]
    padded = torch.nn.functional.pad(weights_MV, (0, -size % BLOCK))
    blocks = padded.reshape(len(padded), -1, BLOCK)
    ends = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)[of_A]
    targets = (draws_A.to(ends) * ends[:, -1])[:, None]
    block_A = _first_beyond(ends, targets)
    before = torch.where(block_A > 0, ends.gather(-1, (block_A - 1).clamp_min(0)), 0.0)
    inside = blocks[of_A, block_A[:, 0]].double().cumsum(dim=-1)
    return (block_A * BLOCK + _first_beyond(inside, targets - before))[:, 0]


def _first_beyond(ends_AK: Tensor, targets_A1: Tensor) -> Tensor:
    """First place whose cumulated mass is above the target, and no later than the mass ends."""
    # A draw near 1 times the mass, or a sum in another order, may round up to the whole mass.
    last = torch.searchsorted(ends_AK, ends_AK[:, -1:].contiguous())
    return torch.searchsorted(ends_AK, targets_A1.contiguous(), right=True).minimum(last)


def _nucleus(probs_MV: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities of the nucleus in falling order, 0 behind its end, and their tokens."""
    vocabulary = probs_MV.shape[-1]
    size = min(NUCLEUS_GUESS, vocabulary)
    top, tokens = most_probable(probs_MV, size)
    kept = _up_to(top, top_p)
    # Complete where it ends before the last place, and before that place's equals.
    unsure = ((kept > 0) & (kept == top[:, -1:])).any(dim=-1)
    if size < vocabulary and bool(unsure.any()):
        pad = torch.nn.functional.pad
        kept, tokens = pad(kept, (0, vocabulary - size)), pad(tokens, (0, vocabulary - size))
        top, tokens[unsure] = most_probable(probs_MV[unsure], vocabulary)
        kept[unsure] = _up_to(top, top_p)
    return kept, tokens


def most_probable(probs_MV: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The largest of `(M, V)` and their tokens, falling; of equals the lower token id first."""
    _, index = probs_MV.topk(size, dim=-1)
    index = index.sort(dim=-1).values  # topk promises no order of equals
    top, falling = probs_MV.gather(-1, index).sort(dim=-1, descending=True, stable=True)
    return top, index.gather(-1, falling)


def _up_to(falling_MK: Tensor, mass: float) -> Tensor:
    """Zero behind the place where the cumulated probability reaches the mass."""
    return falling_MK.where(falling_MK.cumsum(dim=-1) - falling_MK < mass, 0.0)

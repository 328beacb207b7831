"""Which N of a pool are kept: quality first, spread second.

An ensemble is as good as its members on average, so the best wording is taken first, and then one
by one the wording with the highest sum of its quality (in nats a token) and `SPREAD` times its
distance from the nearest text that is there already: the original and those taken before. So a
wording may be worse by at most `SPREAD` for being different. Distance is one minus the share of
common words (Jaccard). No step is random; ties go to the better wording, then to the earlier one.

The rule is maximal marginal relevance (Carbonell and Goldstein, "The Use of MMR, Diversity-Based
Reranking for Reordering Documents and Producing Summaries", SIGIR 1998).
"""

import math
from collections.abc import Sequence

from self_ensemble.scoring.words import words
from self_ensemble.wordings.pool import Candidate

SPREAD = 1.0
QUALITY_DIGITS = 3  # coarser than what the composition of a batch changes in float32


def choose(original: str, pool: Sequence[Candidate], num: int) -> list[Candidate]:
    """Keep at most `num` candidates of a pool, the best first.

    Args:
        original: The original wording, which is part of every ensemble.
        pool: Candidates that passed gate and check. Those without a quality (people wrote them)
            keep their order.
        num: How many to keep.
    """
    if any(math.isnan(candidate.quality) for candidate in pool):
        return list(pool[:num])
    left = sorted(pool, key=lambda candidate: -_rounded_quality(candidate))
    kept = left[:1]
    while len(kept) < min(num, len(left)):
        texts = [original, *(candidate.text for candidate in kept)]
        # max() keeps the first of equals, that is the better one.
        kept.append(
            max(
                (candidate for candidate in left if candidate not in kept),
                key=lambda candidate: (
                    _rounded_quality(candidate)
                    + SPREAD * min(distance(candidate.text, text) for text in texts)
                ),
            )
        )
    return kept[:num]


def _rounded_quality(candidate: Candidate) -> float:
    return round(candidate.quality, QUALITY_DIGITS)


def distance(one: str, other: str) -> float:
    """One minus the Jaccard similarity of the sets of words, from 0 to 1."""
    a, b = set(words(one)), set(words(other))
    return 1.0 - len(a & b) / len(a | b) if a | b else 0.0

"""Accuracy over the number of wordings: votes of subsets, oracles, and runs with several numbers.

any-of-N   right where any of N wordings is: what a perfect choice among them would reach
all-of-N   right where all of N wordings are: what does not hang on the wording
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, nan

import numpy as np

from self_ensemble.analysis.wording_matrix import Floats, WordingMatrix, vote_winners
from self_ensemble.scoring.statistics import Estimate, share_interval

MAX_SUBSETS = 200
VOTE, ANY, ALL = "vote", "any-of-N", "all-of-N"
_RUN = re.compile(r"(?P<method>[^/]+?)-(?P<num>\d+)(?P<weights>-[a-z_]+)?")


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy with so many wordings.

    Attributes:
        series: "vote", "any-of-N", "all-of-N", or the name of a method that was run.
        num_wordings: N.
        accuracy: Mean over subsets, 0 to 1; its interval is over questions.
        lowest: The worst subset of wordings; nan for an oracle and a run.
        highest: The best subset of wordings, as `lowest`.
        num_subsets: Subsets that were counted; 1 for a run.
    """

    series: str
    num_wordings: int
    accuracy: Estimate
    lowest: float
    highest: float
    num_subsets: int


@dataclass(frozen=True, slots=True)
class Curve:
    """All points, and what they are over.

    Attributes:
        points: By series, then by N.
        num_questions: Questions of vote and oracles: those that every wording has an answer to.
        num_left_out: Questions that some wording has no answer to.
    """

    points: tuple[CurvePoint, ...]
    num_questions: int
    num_left_out: int

    def series(self, name: str) -> tuple[CurvePoint, ...]:
        """The points of one series, by N."""
        return tuple(point for point in self.points if point.series == name)


def curve(
    matrix: WordingMatrix | None,
    accuracies: Mapping[str, Mapping[str, float]],
    *,
    confidence: float = 0.95,
    clusters: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Curve:
    """Follow accuracy over the number of wordings.

    All subsets of N wordings count up to `MAX_SUBSETS`; beyond, so many different ones are drawn.
    Oracles count all subsets, by the hypergeometric distribution.

    Args:
        matrix: The answers of the wordings alone; None where there are none.
        accuracies: Accuracy of each question in each result file; files named `method-N` are
            points of their method where there are several, and of `flex_attention` always.
        confidence: Coverage of the intervals.
        clusters: The cluster of each question; None if questions are independent.
        seed: Seed of the subsets.
    """
    points: list[CurvePoint] = []
    if matrix is not None and matrix.uuids:
        of_each = None if clusters is None else [clusters[uuid] for uuid in matrix.uuids]
        points += _votes(matrix, confidence, of_each, seed)
        points += _oracles(matrix, confidence, of_each)
    points += _runs(accuracies, confidence, clusters)
    return Curve(
        tuple(points),
        num_questions=0 if matrix is None else len(matrix.uuids),
        num_left_out=0 if matrix is None else matrix.num_left_out,
    )


def subsets(
    num_wordings: int, size: int, seed: int = 0, most: int = MAX_SUBSETS
) -> list[tuple[int, ...]]:
    """Subsets of a size, in order: all, or `most` different ones drawn at random."""
    if comb(num_wordings, size) <= most:
        return list(combinations(range(num_wordings), size))
    rng = np.random.default_rng([seed, num_wordings, size])
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < most:
        drawn.add(tuple(sorted(rng.choice(num_wordings, size, replace=False).tolist())))
    return sorted(drawn)


def _votes(
    matrix: WordingMatrix, confidence: float, clusters: Sequence[str] | None, seed: int
) -> Iterator[CurvePoint]:
    num_wordings = len(matrix.indices)
    questions = np.arange(len(matrix.uuids))
    for size in range(1, num_wordings + 1):
        total: Floats = np.zeros(len(questions))
        of_subset = []
        chosen = subsets(num_wordings, size, seed)
        for subset in chosen:
            right = matrix.right[questions, vote_winners(matrix, subset)]
            total += right
            of_subset.append(float(right.mean()))
        share = _rounded((total / len(chosen)).tolist())
        accuracy = share_interval(share, confidence, clusters=clusters)
        yield CurvePoint(VOTE, size, accuracy, min(of_subset), max(of_subset), len(chosen))


def _oracles(
    matrix: WordingMatrix, confidence: float, clusters: Sequence[str] | None
) -> Iterator[CurvePoint]:
    num_wordings = len(matrix.indices)
    num_right = matrix.right.sum(1).tolist()
    for series in (ANY, ALL):
        for size in range(1, num_wordings + 1):
            num_subsets = comb(num_wordings, size)
            # Of n choose k subsets, those with no right wording, or with right ones only.
            share = [
                1 - comb(num_wordings - right, size) / num_subsets
                if series == ANY
                else comb(right, size) / num_subsets
                for right in num_right
            ]
            accuracy = share_interval(_rounded(share), confidence, clusters=clusters)
            yield CurvePoint(series, size, accuracy, nan, nan, num_subsets)


def _rounded(shares: Sequence[float]) -> list[float]:
    """Equal shares as equal numbers, whatever way they were computed."""
    return [round(share, 12) for share in shares]


def _runs(
    accuracies: Mapping[str, Mapping[str, float]],
    confidence: float,
    clusters: Mapping[str, str] | None,
) -> Iterator[CurvePoint]:
    runs: dict[str, dict[int, Mapping[str, float]]] = {}
    for name, of_question in accuracies.items():
        match = _RUN.fullmatch(name)
        # A vote that was run is the vote of the wordings alone once more.
        if match is not None and match["method"] != VOTE and of_question:
            series = match["method"] + (match["weights"] or "")
            runs.setdefault(series, {})[int(match["num"])] = of_question
    for series, by_number in runs.items():
        if len(by_number) < 2 and series != "flex_attention":
            continue
        for number, of_question in sorted(by_number.items()):
            of_each = None if clusters is None else [clusters[uuid] for uuid in of_question]
            accuracy = share_interval(list(of_question.values()), confidence, clusters=of_each)
            yield CurvePoint(series, number, accuracy, nan, nan, 1)

"""The first answer token over the number of wordings, fused again from what was kept of it.

`generate --save-logprobs` keeps what every wording predicts as the first token of an answer. Any
rule can fuse any of the wordings there, without the model; later tokens cannot be fused again. So
this counts how often the first token is one that an accepted answer begins with, which is not yet
an answer that is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean

import numpy as np

from self_ensemble.analysis.curve import subsets
from self_ensemble.replaying.choice import COARSEST, TOLERANCE, taken
from self_ensemble.replaying.rules import CONTRAST, REPLAY_RULES, ReplayRule, Setting
from self_ensemble.replaying.stored import FirstPlace, Stored
from self_ensemble.scoring.statistics import Estimate, share_interval

# Fewer than votes have: each is fused question by question, which takes some 50 microseconds.
MOST_SUBSETS = 32
# Without those that need weights, and without one of the two that always take the same token.
RULES = ("avg", "max", "prob_avg", "min_entropy", "contrast", "gated")


@dataclass(frozen=True, slots=True)
class FirstTokenPoint:
    """What a rule takes with so many wordings.

    Attributes:
        rule: The fusion rule.
        num_wordings: N.
        right: Share of the questions whose first token begins an accepted answer, 0 to 1, mean
            over subsets; its interval is over questions.
        lowest: Of the worst subset of wordings.
        highest: Of the best subset of wordings.
        num_subsets: Subsets that were counted.
        exact: Share of questions and subsets in which a run over the whole vocabulary takes the
            same token, 0 to 1; in the others a token that was not kept could be likelier, or what
            decides is closer than two runs agree.
    """

    rule: str
    num_wordings: int
    right: Estimate
    lowest: float
    highest: float
    num_subsets: int
    exact: float


@dataclass(frozen=True, slots=True)
class FirstTokenCurve:
    """All points, and what they are over.

    Attributes:
        file: The file of log-probabilities, without `.feather`.
        points: By rule, then by N.
        num_questions: Questions that log-probabilities were kept of.
        num_left_out: Questions without, the error rows, and those without a cluster where
            questions are clustered, which are in no result file.
        alike: Share of the wordings' own answers that are right where their first token is, and
            wrong where it is not, 0 to 1: how far the first token stands for the answer. nan where
            no file of the wordings alone is there.
    """

    file: str
    points: tuple[FirstTokenPoint, ...]
    num_questions: int
    num_left_out: int
    alike: float

    def series(self, rule: str) -> tuple[FirstTokenPoint, ...]:
        """The points of one rule, by N."""
        return tuple(point for point in self.points if point.rule == rule)


def first_token_curve(
    file: str,
    stored: Stored,
    alone: Mapping[tuple[str, int | None], float],
    rules: Sequence[str] = RULES,
    *,
    confidence: float = 0.95,
    clusters: Mapping[str, str] | None = None,
    seed: int = 0,
    max_subsets: int = MOST_SUBSETS,
) -> FirstTokenCurve:
    """Follow the first token over the number of wordings.

    All subsets of N wordings count up to `max_subsets`; beyond, so many different ones are drawn.
    In a subset without the original wording the first of its wordings has the original's part,
    which `gated` looks at.

    Args:
        file: Name of the file.
        stored: What it holds.
        alone: Accuracy of each wording's own answer, by question and wording.
        rules: Fusion rules that read no weights.
        confidence: Coverage of the intervals.
        clusters: The cluster of each question; None if questions are independent.
        seed: Seed of the subsets.
        max_subsets: Most subsets of a size.
    """
    asked = {
        one.uuid: one.first
        for one in stored.questions
        if one.first is not None and (clusters is None or one.uuid in clusters)
    }
    accepted = {
        one.uuid: [token in one.answer_ids for token in one.token_ids]
        for one in stored.questions
        if one.uuid in asked
    }
    of_each = None if clusters is None else [clusters[uuid] for uuid in asked]
    tolerance = TOLERANCE.get(stored.dtype, COARSEST)
    points = []
    for rule in rules:
        for size in range(1, len(stored.indices) + 1):
            chosen = subsets(len(stored.indices), size, seed, max_subsets)
            setting = Setting(np.ones(size), CONTRAST, tolerance)
            found = np.array(
                [_taken(asked, accepted, REPLAY_RULES[rule], one, setting) for one in chosen]
            )  # (subsets, questions, 2)
            if not asked:
                continue
            right, exact = found[..., 0], found[..., 1]
            shares = [round(share, 12) for share in right.mean(0).tolist()]
            points.append(
                FirstTokenPoint(
                    rule,
                    size,
                    share_interval(shares, confidence, clusters=of_each),
                    lowest=float(right.mean(1).min()),
                    highest=float(right.mean(1).max()),
                    num_subsets=len(chosen),
                    exact=float(exact.mean()),
                )
            )
    num = len(asked)
    alike = _alike(stored.indices, asked, accepted, alone)
    return FirstTokenCurve(file, tuple(points), num, len(stored.questions) - num, alike)


def _taken(
    asked: Mapping[str, FirstPlace],
    accepted: Mapping[str, Sequence[bool]],
    rule: ReplayRule,
    subset: Sequence[int],
    setting: Setting,
) -> list[tuple[bool, bool]]:
    """Of each question: whether the token begins an accepted answer, and whether it is exact."""
    found = []
    for uuid, first in asked.items():
        _, place, status = taken(first.of(subset), rule, setting)
        found.append((accepted[uuid][place], status == "exact"))
    return found


def _alike(
    indices: Sequence[int],
    asked: Mapping[str, FirstPlace],
    accepted: Mapping[str, Sequence[bool]],
    alone: Mapping[tuple[str, int | None], float],
) -> float:
    same = [
        accepted[uuid][int(np.argmax(first.logprobs[row]))] == (alone[uuid, index] > 0)
        for uuid, first in asked.items()
        for row, index in enumerate(indices)
        if (uuid, index) in alone
    ]
    return fmean(same) if same else nan

"""Rules on subsets of what was kept of the first token, against the definitions."""

from itertools import combinations
from math import isnan

import numpy as np
import pytest

from self_ensemble.analysis.first_token import MOST_SUBSETS, RULES, first_token_curve
from self_ensemble.replaying.stored import FirstPlace, Stored, StoredQuestion

VOCABULARY = 9


def question(uuid: str, probs: np.ndarray, answers: tuple[int, ...], kept: int) -> StoredQuestion:
    """What is kept of the likeliest tokens; the others are known by their bounds alone."""
    logprobs, prior = np.log(probs), np.log(np.full(VOCABULARY, 1 / VOCABULARY))
    best = {int(token) for row in logprobs for token in np.argsort(row)[-kept:]}
    ids = sorted(best | set(answers))
    others = [token for token in range(VOCABULARY) if token not in ids]
    nothing = np.full(len(probs), -np.inf)
    first = FirstPlace(
        logprobs[:, ids],
        bound=logprobs[:, others].max(1) if others else nothing,
        rest=np.logaddexp.reduce(logprobs[:, others], 1) if others else nothing,
        gap=(logprobs - prior)[:, others].max(1) if others else nothing,
        entropy=-(probs * logprobs).sum(1),
        prior=prior[ids],
    )
    return StoredQuestion(uuid, tuple(ids), tuple(map(str, ids)), answers, first, None)


@pytest.fixture(scope="module")
def asked() -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Distributions `(4, V)` and accepted first tokens of some questions."""
    rng = np.random.default_rng(0)
    return [
        (rng.dirichlet(np.full(VOCABULARY, 0.6), size=4), (int(rng.integers(VOCABULARY)),))
        for _ in range(40)
    ]


def stored(asked, kept: int = VOCABULARY, indices=(0, 1, 2, 3)) -> Stored:
    return Stored(indices, "float32", tuple(
        question(f"q{n}", probs, answers, kept) for n, (probs, answers) in enumerate(asked)
    ))  # fmt: skip


BY_DEFINITION = {
    "avg": lambda probs: np.log(probs).mean(0),
    "max": lambda probs: probs.max(0),
    "prob_avg": lambda probs: probs.mean(0),
    "min_entropy": lambda probs: probs[np.argmin([-(p * np.log(p)).sum() for p in probs])],
}


@pytest.mark.parametrize("rule", BY_DEFINITION)
def test_a_point_is_the_mean_over_all_subsets_of_the_whole_vocabulary(asked, rule):
    curve = first_token_curve("logprobs-4", stored(asked), {}, [rule])
    for point in curve.series(rule):
        right = [
            [int(np.argmax(BY_DEFINITION[rule](probs[list(s)]))) in answers
             for probs, answers in asked]
            for s in combinations(range(4), point.num_wordings)
        ]  # fmt: skip
        assert point.right.value == pytest.approx(np.mean(right))
        of_subset = np.mean(right, axis=1)
        assert (point.lowest, point.highest) == (of_subset.min(), of_subset.max())
        assert point.num_subsets == len(right)
        assert point.exact > 0.97  # some are close


def test_with_few_tokens_kept_less_is_exact_and_that_is_told(asked):
    few = first_token_curve("logprobs-4", stored(asked, kept=1), {})
    for rule in RULES:
        whole = first_token_curve("logprobs-4", stored(asked), {}, [rule]).series(rule)
        shares = [point.exact for point in few.series(rule)]
        assert min(shares) < 1
        for cut, full in zip(few.series(rule), whole, strict=True):
            # What is exact is what the whole vocabulary says.
            assert abs(cut.right.value - full.right.value) <= 1 - cut.exact + 1e-12


def test_error_rows_are_left_out_and_counted(asked):
    kept = stored(asked)
    error = StoredQuestion("bad", (), (), (), None, "too long")
    curve = first_token_curve("logprobs-4", kept._replace(questions=(*kept.questions, error)), {})
    assert (curve.num_questions, curve.num_left_out) == (40, 1)
    nothing = first_token_curve("logprobs-4", kept._replace(questions=(error,)), {})
    assert nothing.points == ()
    assert isnan(nothing.alike)


def test_the_first_token_is_held_against_the_wordings_own_answers(asked):
    kept = stored(asked, indices=(3, 1, 0, 2))
    right = {
        (f"q{n}", index): float(int(np.argmax(probs[row])) in answers)
        for n, (probs, answers) in enumerate(asked)
        for row, index in enumerate(kept.indices)
    }
    assert first_token_curve("f", kept, right).alike == 1.0
    flipped = right | {("q0", 3): 1 - right["q0", 3]}
    assert first_token_curve("f", kept, flipped).alike == 1 - 1 / len(right)
    assert isnan(first_token_curve("f", kept, {}).alike)


def test_many_wordings_are_fused_in_some_subsets():
    rng = np.random.default_rng(1)
    many = [(rng.dirichlet(np.ones(VOCABULARY), size=9), (0,))]
    curve = first_token_curve("f", stored(many, indices=tuple(range(9))), {}, ["avg"])
    assert [point.num_subsets for point in curve.points] == [9, 32, 32, 32, 32, 32, 32, 9, 1]
    assert MOST_SUBSETS == 32


def test_clusters_widen_the_interval(asked):
    twice = [one for one in asked for _ in range(2)]
    clusters = {f"q{n}": str(n // 2) for n in range(80)}
    plain = first_token_curve("f", stored(twice), {}, ["avg"]).points[-1].right
    clustered = first_token_curve("f", stored(twice), {}, ["avg"], clusters=clusters)
    wide = clustered.points[-1].right
    assert wide.value == plain.value
    assert wide.high - wide.low > plain.high - plain.low
    # A question that no result file has is in no cluster.
    known = {uuid: name for uuid, name in clusters.items() if uuid != "q79"}
    fewer = first_token_curve("f", stored(twice), {}, ["avg"], clusters=known)
    assert (fewer.num_questions, fewer.num_left_out) == (79, 1)

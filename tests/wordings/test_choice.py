"""Which wordings of a pool are kept."""

import itertools
import math
import random

from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.wordings.choice import SPREAD, choose, distance
from self_ensemble.wordings.pool import Candidate

WORDS = ("who", "what", "built", "the", "old", "stone", "bridge", "town", "river", "play")
candidates = st.lists(
    st.builds(
        Candidate,
        text=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join),
        style=st.just("plain"),
        logprob=st.floats(-3, 0),
        recovery=st.floats(-3, 0),
    ),
    max_size=8,
    unique_by=lambda candidate: candidate.text,
)
ORIGINAL = "who built the bridge"


def of(text: str, quality: float) -> Candidate:
    return Candidate(text, "plain", quality, 0.0)


@given(candidates, st.integers(1, 6))
def test_the_best_comes_first_and_as_many_as_there_are_are_kept(
    pool: list[Candidate], num: int
) -> None:
    kept = choose(ORIGINAL, pool, num)
    assert len(kept) == min(num, len(pool))
    assert len({candidate.text for candidate in kept}) == len(kept)
    if pool:
        best = max(round(candidate.quality, 3) for candidate in pool)
        assert round(kept[0].quality, 3) == best


@given(candidates, st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_of_the_pool_decides_ties_only(
    pool: list[Candidate], num: int, shuffled: random.Random
) -> None:
    different = list({round(c.quality, 3): c for c in pool}.values())
    reordered = list(different)
    shuffled.shuffle(reordered)
    first, second = (choose(ORIGINAL, order, num)[:1] for order in (different, reordered))
    assert first == second


def test_of_equally_good_wordings_the_most_different_is_kept() -> None:
    pool = [of("who built it", -0.5), of("who built that", -1.0), of("name of maker", -1.0)]
    assert [c.text for c in choose(ORIGINAL, pool, 2)] == ["who built it", "name of maker"]


def test_a_wording_much_worse_is_not_kept_for_being_different() -> None:
    good = [of("who built the old bridge", -0.5), of("who built bridge", -0.6)]
    poor = of("something else entirely", -0.6 - SPREAD - 0.1)
    assert poor not in choose(ORIGINAL, [*good, poor], 2)


def test_wordings_without_a_quality_keep_their_order() -> None:
    pool = [Candidate(text, "human") for text in ("b", "a", "c")]
    assert [c.text for c in choose(ORIGINAL, pool, 2)] == ["b", "a"]


def test_distance_is_a_metric_on_sets_of_words() -> None:
    texts = ["who built it", "Who built IT?", "it built", "what", ""]
    assert distance(texts[0], texts[1]) == 0
    assert distance("who built it", "who built that") == 0.5
    for a, b, c in itertools.product(texts, repeat=3):
        assert distance(a, b) == distance(b, a)
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12
    assert not math.isnan(distance("", ""))


def test_a_likely_wording_that_does_not_lead_back_is_not_the_best() -> None:
    likely, faithful = Candidate("who", "end", -0.2, -3.0), Candidate("who did", "end", -0.9, -0.9)
    assert choose(ORIGINAL, [likely, faithful], 1) == [faithful]

"""Weights of wordings, in the fusion rule and inside attention."""

from itertools import permutations

import pytest
import torch
from asking import PREFIX, QUESTIONS, ensemble, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from self_ensemble.asking.request import Request
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.prefill import prefill

WEIGHTED = ["weighted_avg", "weighted_max", "flex_attention"]
VARIANTS = [
    ("aligned", "cue"),
    ("contiguous", "cue"),
    ("aligned", "last_segment"),
    ("contiguous", "last_segment"),
]
WINDOWED = [("llama", None), ("mistral", 8), ("gemma2", 8)]


@pytest.fixture(scope="module")
def tiny_llama(loaded):
    return loaded("llama")


def _weighted(wordings, weights, key="q"):
    """A request with the same weights at both levels."""
    return Request(key, tuple(wordings), weights=tuple(weights), segment_weights=tuple(weights))


def _answers(asked, asking, methods=WEIGHTED):
    found = asked.run(asking)
    return {method: tokens(found[method]) for method in methods}


@torch.inference_mode()
def _fused_logits(asked, wordings, weights):
    layout = build_layout(asked.frame.parts(wordings), segment_weights=weights)
    return prefill(asked.engine, [layout], asked.prefix())[1].logits_MV[0]


@pytest.mark.parametrize("prefix", [PREFIX, ""], ids=["prefix", "no_prefix"])
@pytest.mark.parametrize(("positions", "fusion_point"), VARIANTS)
@pytest.mark.parametrize(("family", "window"), WINDOWED)
def test_all_weight_on_one_wording_is_that_wording_alone(
    loaded, family, window, positions, fusion_point, prefix
):
    asked = ensemble(
        loaded(family, sliding_window=window), [*WEIGHTED, "per_prompt"],
        positions=positions, fusion_point=fusion_point, segment_weights="given", prefix=prefix,
    )  # fmt: skip
    for wordings in QUESTIONS:
        one_hot = [[0.4 * (n == chosen) for n in range(3)] for chosen in range(3)]
        answers = asked.run([_weighted(wordings, weights, str(weights)) for weights in one_hot])
        alone = tokens(answers["per_prompt"][0].members)
        for method in WEIGHTED:
            assert tokens(answers[method]) == alone


def test_the_wordings_of_the_test_above_answer_differently(loaded):
    answers = ensemble(loaded("llama"), "per_prompt").run([_weighted(QUESTIONS[0], (1.0,) * 3)])
    assert len({member.token_ids for member in answers["per_prompt"][0].members}) == 3


@pytest.mark.parametrize(("family", "window"), WINDOWED)
@torch.inference_mode()
def test_all_weight_on_one_wording_leaves_its_logits(loaded, family, window):
    asked = ensemble(loaded(family, sliding_window=window))
    for chosen in range(3):
        one_hot = [float(n == chosen) for n in range(3)]
        alone = _fused_logits(asked, QUESTIONS[0][chosen : chosen + 1], [1.0])
        fused = _fused_logits(asked, QUESTIONS[0], one_hot)
        torch.testing.assert_close(fused, alone, rtol=1e-4, atol=1e-4)


@settings(max_examples=15)
@given(
    weights=st.lists(st.sampled_from([0.0, 0.01, 0.3, 1.0]), min_size=3, max_size=3).filter(any),
    factor=st.sampled_from([1e-6, 0.1, 7.0, 1e6]),
)
def test_only_the_ratio_of_weights_counts(tiny_llama, weights, factor):
    asked = ensemble(tiny_llama, WEIGHTED, segment_weights="given")
    scaled = [factor * weight for weight in weights]
    both = [_weighted(QUESTIONS[2], weights), _weighted(QUESTIONS[2], scaled)]
    for one, other in asked.run(both).values():
        assert one.token_ids == other.token_ids
        # A distribution that is too sharp or too flat has the same greedy tokens.
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("num_copies", [2, 5])
@pytest.mark.parametrize(("family", "window"), WINDOWED)
@torch.inference_mode()
def test_copies_with_equal_shares_have_the_logits_of_one(loaded, family, window, num_copies):
    asked = ensemble(loaded(family, sliding_window=window))
    for wordings in QUESTIONS:
        one = _fused_logits(asked, wordings[:1], [1.0])
        shares = [1 / num_copies] * num_copies
        copies = _fused_logits(asked, wordings[:1] * num_copies, shares)
        torch.testing.assert_close(copies, one, rtol=1e-4, atol=1e-4)
        unweighted = _fused_logits(asked, wordings[:1] * num_copies, [1.0] * num_copies)
        assert (unweighted - one).abs().max() > 0.1


def test_copies_share_the_weight_of_one(loaded):
    # 0.6 on one wording, or 0.1, 0.2 and 0.3 on three copies of it.
    asked = ensemble(loaded("llama"), ["flex_attention", "weighted_avg"], segment_weights="given")
    for first, second, *_ in QUESTIONS:
        answers = asked.run(
            [
                _weighted((first, first, second, first), (0.1, 0.2, 0.4, 0.3)),
                _weighted((first, second, second, second), (0.6, 0.2, 0.1, 0.1)),
            ]
        )
        for found in answers.values():
            assert tokens(found[:1]) == tokens(found[1:])


@pytest.mark.parametrize(("family", "window"), WINDOWED)
def test_wordings_may_change_places_with_their_weights(loaded, family, window):
    asked = ensemble(loaded(family, sliding_window=window), WEIGHTED, segment_weights="given")
    # Without two equal ones, of which weighted_max would take the first.
    different = ((0.2, 0.5, 0.3), (1.0, 0.9, 2.0), (0.7, 0.1, 0.4))
    for wordings, weights in zip(QUESTIONS, different, strict=True):
        asking = [
            _weighted([wordings[n] for n in order], [weights[n] for n in order], str(order))
            for order in permutations(range(3))
        ]
        for answers in _answers(asked, asking).values():
            assert answers == answers[:1] * len(asking)
        moved = [
            _weighted(wordings, [weights[n] for n in order], str(order))
            for order in permutations(range(3))
        ]
        # Weights that change places without their wordings do count.
        assert len({str(one) for one in _answers(asked, moved)["weighted_max"]}) > 1


@pytest.mark.parametrize("scale", [1e-46, 1e-300, 1e39, 1e308])
def test_weights_beyond_float32_are_the_same_weights(tiny_llama, scale):
    weights = (0.5, 1.0, 0.7)
    asked = ensemble(tiny_llama, WEIGHTED, segment_weights="given")
    scaled = [_weighted(QUESTIONS[0], [scale * weight for weight in weights])]
    assert _answers(asked, scaled) == _answers(asked, [_weighted(QUESTIONS[0], weights)])

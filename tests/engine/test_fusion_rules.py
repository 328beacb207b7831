"""Fusion rules as pure functions, against slow loops and by what must hold of them."""

import pytest
import torch
from asking import TIED, combine_slowly
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.decoding.fusion import RULES, WEIGHTED, fuse

UNWEIGHTED = [name for name in TIED if name not in WEIGHTED]


@st.composite
def questions(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `(N, V)` and weights `(N,)`, at least one of them above 0."""
    num_wordings, vocabulary = draw(st.integers(1, 5)), draw(st.integers(2, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.1, 3.0, 30.0]))
    logits = scale * torch.randn(num_wordings, vocabulary, generator=generator)
    weights = draw(
        st.lists(
            st.sampled_from([0.0, 0.1, 0.5, 1.0, 7.0]), min_size=num_wordings,
            max_size=num_wordings,
        ).filter(any)
    )  # fmt: skip
    return logits, torch.tensor(weights)


def _probs(scores):
    return scores.double().softmax(dim=-1)


def _close(one, other):
    torch.testing.assert_close(one.double(), other.double(), rtol=1e-4, atol=1e-5)


def test_the_built_in_rules_are_the_tested_ones():
    assert set(RULES) == set(TIED)


@pytest.mark.parametrize("name", TIED)
@given(question=questions())
def test_a_rule_equals_the_slow_loop(name, question):
    logits, weights = question
    slow = combine_slowly(name, list(logits), weights.tolist())
    if name in ("max", "prob_avg", "weighted_max"):
        # The loop gives probabilities there, unnormalised for max.
        slow = slow.clamp(min=1e-300).log()
    _close(_probs(RULES[name](logits, weights)), _probs(slow))


@pytest.mark.parametrize("name", TIED)
@given(question=questions())
def test_one_question_and_a_batch_give_the_same(name, question):
    logits, weights = question
    other = logits.flip(-1)
    batch = RULES[name](torch.stack([logits, other]), torch.stack([weights, weights]))
    _close(batch[0], RULES[name](logits, weights))
    _close(batch[1], RULES[name](other, weights))


@pytest.mark.parametrize("name", TIED)
@given(question=questions())
def test_equal_rows_fuse_to_themselves(name, question):
    logits, weights = question
    rows = logits[:1].expand(len(logits), -1)
    _close(_probs(RULES[name](rows, weights)), _probs(rows[0]))


@pytest.mark.parametrize("name", TIED)
@given(question=questions(), data=st.data())
def test_the_order_of_wordings_does_not_matter(name, question, data):
    logits, weights = question
    if name == "weighted_max":
        # The first of equal weights wins; without equals the order is free.
        weights = torch.arange(len(logits)).float() + 1.0
    order = data.draw(st.permutations(range(len(logits))))
    _close(RULES[name](logits[order], weights[order]), RULES[name](logits, weights))


@given(question=questions())
def test_mean_of_logits_and_mean_of_logprobs_are_one_distribution(question):
    logits, weights = question
    one, other = (RULES[name](logits, weights) for name in ("avg", "logprob_avg"))
    _close(_probs(one), _probs(other))


@given(question=questions())
def test_equal_weights_are_no_weights(question):
    logits, _ = question
    for weight in (0.3, 1.0):
        weights = torch.full((len(logits),), weight)
        _close(RULES["weighted_avg"](logits, weights), RULES["avg"](logits, weights))


@given(question=questions(), factor=st.sampled_from([0.01, 3.0, 100.0]))
def test_only_the_ratio_of_weights_counts(question, factor):
    logits, weights = question
    for name in WEIGHTED:
        _close(RULES[name](logits, factor * weights), RULES[name](logits, weights))


@given(question=questions())
def test_weighted_max_takes_the_row_with_the_largest_weight(question):
    logits, weights = question
    best = weights.tolist().index(max(weights.tolist()))
    assert torch.equal(RULES["weighted_max"](logits, weights), logits[best])


@pytest.mark.parametrize("name", UNWEIGHTED)
@given(question=questions())
def test_an_unweighted_rule_does_not_read_the_weights(name, question):
    logits, weights = question
    assert torch.equal(RULES[name](logits, weights), RULES[name](logits, weights * 0.0))


@given(question=questions())
def test_a_weight_of_zero_leaves_the_wording_out_of_the_mean(question):
    logits, weights = question
    kept = weights > 0
    _close(
        RULES["weighted_avg"](logits, weights), RULES["weighted_avg"](logits[kept], weights[kept])
    )


@given(question=questions())
def test_the_fused_argmax_is_a_wordings_argmax_where_all_agree(question):
    logits, weights = question
    logits = logits.clone()
    logits[:, 1] = logits.max() + 1.0
    for name in TIED:
        assert RULES[name](logits, weights).argmax() == 1


@pytest.mark.parametrize("name", TIED)
def test_fuse_gives_one_row_per_question(name):
    assert fuse(RULES[name], torch.randn(3, 4, 7), torch.ones(3, 4)).shape == (3, 7)

"""Fusion rules as pure functions, against slow loops and by what must hold of them."""

import math

import numpy as np
import pytest
import torch
from asking import STRENGTH, TIED, combine_slowly, entropy_slowly
from hypothesis import assume, given
from hypothesis import strategies as st

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.errors import UserError
from self_ensemble.walking.choose import greedy
from self_ensemble.walking.fusion import (
    CONTRAST,
    MOST_CONTRAST,
    RULES,
    WEIGHTED,
    contrast,
    min_entropy,
)

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


def _entropies(logits):
    return [entropy_slowly(_probs(row)) for row in logits]


def _has_clear_least_entropy(logits):
    """Whether rounding to float32 cannot change which row has the least entropy."""
    least, *others = sorted(_entropies(logits))
    return not others or others[0] - least > 1e-5


def test_the_built_in_rules_are_the_tested_ones():
    assert set(RULES) == set(TIED)
    assert CONTRAST == STRENGTH


@pytest.mark.parametrize("name", TIED)
@given(question=questions())
def test_a_rule_equals_the_slow_loop(name, question):
    logits, weights = question
    assume(name != "contrast" or len(logits) > 1)
    assume(name != "min_entropy" or _has_clear_least_entropy(logits))
    slow = combine_slowly(name, list(logits), weights.tolist())
    if name in ("max", "prob_avg", "weighted_max", "min_entropy", "gated"):
        # The loop gives probabilities there, unnormalised for max.
        slow = slow.clamp(min=1e-300).log()
    _close(_probs(RULES[name](logits, weights)), _probs(slow))


@pytest.mark.parametrize("name", TIED)
@given(question=questions())
def test_one_question_and_a_batch_give_the_same(name, question):
    logits, weights = question
    assume(name != "contrast" or len(logits) > 1)
    other = logits.flip(-1).roll(1, dims=0)
    batch = RULES[name](torch.stack([logits, other]), torch.stack([weights, weights]))
    _close(batch[0], RULES[name](logits, weights))
    _close(batch[1], RULES[name](other, weights))


@pytest.mark.parametrize("name", TIED)
@given(question=questions())
def test_equal_rows_fuse_to_themselves(name, question):
    logits, weights = question
    assume(name != "contrast" or len(logits) > 1)
    rows = logits[:1].expand(len(logits), -1)
    _close(_probs(RULES[name](rows, weights)), _probs(rows[0]))


@pytest.mark.parametrize("name", TIED)
@given(question=questions(), data=st.data())
def test_the_order_of_wordings_does_not_matter(name, question, data):
    logits, weights = question
    if name == "weighted_max":
        # The first of equal weights wins; without equals the order is free.
        weights = torch.arange(len(logits)).float() + 1.0
    assume(name != "min_entropy" or _has_clear_least_entropy(logits))
    first, last = int(name == "gated"), len(logits) - int(name == "contrast")
    assume(first < last)
    order = data.draw(st.permutations(range(first, last)))
    order = [*range(first), *order, *range(last, len(logits))]
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
    assume(name != "contrast" or len(logits) > 1)
    assert torch.equal(RULES[name](logits, weights), RULES[name](logits, weights * 0.0))


@given(question=questions())
def test_a_weight_of_zero_leaves_the_wording_out_of_the_mean(question):
    logits, weights = question
    kept = weights > 0
    _close(
        RULES["weighted_avg"](logits, weights), RULES["weighted_avg"](logits[kept], weights[kept])
    )


@pytest.mark.parametrize("name", [name for name in TIED if name != "contrast"])
@given(question=questions(), lead=st.sampled_from([0.01, 1.0, 20.0]), data=st.data())
def test_the_fused_argmax_is_a_wordings_argmax_where_all_agree(name, question, lead, data):
    logits, weights = question
    favourite = data.draw(st.integers(0, logits.shape[1] - 1))
    logits = logits.clone()
    # Each wording by its own margin, however small beside the spread of its logits.
    logits[:, favourite] = logits.amax(dim=-1) + lead
    assert RULES[name](logits, weights).argmax() == favourite


def test_contrast_may_leave_a_token_that_all_agree_on():
    # The prompt without the question says it as loudly, so it is no news from the wordings.
    logits = torch.tensor([[2.0, 1.9, 0.0], [2.0, 1.9, 0.0], [5.0, 0.0, 0.0]])
    assert contrast(logits, torch.ones(3)).argmax() == 1
    assert contrast(logits, torch.ones(3), strength=0.0).argmax() == 0


@given(question=questions(), strength=st.sampled_from([0.0, 0.1, 0.25, 1.0, 4.0]))
def test_contrast_is_its_formula(question, strength):
    logits, weights = question
    assume(len(logits) > 1)
    probs = [np.exp(row - np.logaddexp.reduce(row)) for row in logits.double().numpy()]
    pooled = np.prod(np.stack(probs[:-1]) ** (1 / len(probs[:-1])), axis=0)
    pooled /= pooled.sum()
    ratio = pooled ** (1 + strength) / probs[-1] ** strength
    slow = torch.from_numpy(ratio / ratio.sum())
    _close(_probs(contrast(logits, weights, strength)), slow)


@pytest.mark.parametrize("strength", [-0.1, 1e7, 1e300, math.inf, math.nan])
def test_a_strength_of_contrast_that_changes_nothing_more_is_refused(strength):
    with pytest.raises(UserError, match="Give a number from 0 to 1,000,000"):
        resolve_methods(["contrast"], has_weights=False, contrast_strength=strength)
    with pytest.raises(UserError, match="Got --contrast-strength"):
        contrast(torch.zeros(3, 4), torch.ones(3), strength)


def test_contrast_of_the_most_strength_is_finite():
    logits = torch.tensor([[0.0, -math.inf, -3e4], [1.0, -math.inf, 2.0], [0.0, 1.0, 0.5]])
    _, logprob = greedy(contrast(logits, torch.ones(3), MOST_CONTRAST))
    assert logprob.isfinite()


@given(question=questions())
def test_contrast_without_strength_is_the_mean_of_logprobs(question):
    logits, weights = question
    assume(len(logits) > 1)
    plain = RULES["logprob_avg"](logits[:-1], weights[:-1])
    _close(_probs(contrast(logits, weights, strength=0.0)), _probs(plain))


@given(question=questions())
def test_min_entropy_is_one_wordings_distribution_and_no_other_is_surer(question):
    logits, weights = question
    fused = min_entropy(logits, weights)
    entropies = _entropies(logits)
    same = [n for n, row in enumerate(logits) if torch.allclose(fused, row.log_softmax(-1))]
    assert same
    assert min(entropies[n] for n in same) <= min(entropies) + 1e-5


def test_min_entropy_takes_the_first_of_equals():
    sure = torch.tensor([3.0, 0.0, 0.0])
    logits = torch.stack([torch.zeros(3), sure, sure.roll(1), sure.roll(2)])
    assert min_entropy(logits, torch.ones(4)).argmax() == 0
    assert min_entropy(logits.flip(0), torch.ones(4)).argmax() == 2


def test_min_entropy_counts_a_token_that_is_ruled_out_as_nothing():
    # Two tokens in question are less certain than one, whatever else is ruled out.
    never = -torch.inf
    halves, sure = torch.tensor([0.0, 0.0, never]), torch.tensor([0.0, 3.0, 0.0])
    fused = min_entropy(torch.stack([halves, sure]), torch.ones(2))
    torch.testing.assert_close(fused, sure.log_softmax(-1))
    fused = min_entropy(torch.stack([halves, torch.zeros(3)]), torch.ones(2))
    torch.testing.assert_close(fused, halves.log_softmax(-1))


@pytest.mark.parametrize(
    ("favourites", "is_original"),
    [([0], True), ([0, 1], False), ([0, 0, 1], True), ([0, 1, 1], False), ([0, 1, 2], False),
     ([0, 0, 1, 1], False), ([0, 0, 1, 2], False), ([0, 0, 0, 1], True)],
)  # fmt: skip
def test_gated_asks_the_original_while_more_than_half_agree_with_it(favourites, is_original):
    logits = torch.tensor([[2.0 * (token == likes) + 0.1 * n for token in range(3)]
                           for n, likes in enumerate(favourites)])  # fmt: skip
    logits[0, 2] += 0.5  # no other wording has this distribution
    fused = _probs(RULES["gated"](logits, torch.ones(len(logits))))
    expected = logits[0] if is_original else RULES["prob_avg"](logits, torch.ones(len(logits)))
    _close(fused, _probs(expected))


def test_gated_decides_for_each_question_of_a_batch():
    agree = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    differ = torch.tensor([[3.0, 0.0], [0.0, 9.0], [0.0, 9.0]])
    fused = RULES["gated"](torch.stack([agree, differ]), torch.ones(2, 3))
    _close(_probs(fused[0]), _probs(agree[0]))
    assert fused[1].argmax() == 1


@pytest.mark.parametrize("name", TIED)
def test_a_rule_gives_one_row_per_question(name):
    assert RULES[name](torch.randn(3, 4, 7), torch.ones(3, 4)).shape == (3, 7)


@pytest.mark.parametrize("name", ["contrast", "weighted_avg", "prob_avg"])
def test_a_token_that_is_ruled_out_everywhere_is_not_chosen(name):
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    logits[:, 2] = -torch.inf
    scores = RULES[name](logits, torch.tensor([0.0, 1.0, 2.0][: 2 + (name == "weighted_avg")]))
    assert not torch.isnan(scores).any()
    assert scores[2] == scores.min()
    assert int(scores.argmax()) != 2


def test_a_wording_without_weight_rules_nothing_out():
    logits = torch.tensor([[-torch.inf, 0.0], [2.0, 1.0]])
    assert RULES["weighted_avg"](logits, torch.tensor([0.0, 3.0])).tolist() == [2.0, 1.0]

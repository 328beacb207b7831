"""The choice of a token: greedy, by temperature, inside the nucleus."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from asking import ensemble, requests, tokens
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare

import self_ensemble.walking.choose as module
from self_ensemble.errors import UserError
from self_ensemble.walking.choose import choose, largest
from self_ensemble.walking.sampling import Sampling

LAST_DRAW = 1.0 - 2.0**-53  # the largest that numpy draws


@st.composite
def scores(draw: st.DrawFn) -> torch.Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    size, scale = draw(st.integers(1, 30)), draw(st.sampled_from([0.0, 0.5, 3.0, 40.0]))
    return scale * torch.randn(1, size, generator=generator)


def _nucleus(probs, top_p):
    """The smallest set of most probable tokens that holds top-p, ties by token id."""
    order = sorted(range(len(probs)), key=lambda n: (-probs[n], n))
    kept, mass = [], 0.0
    for n in order:
        if mass >= top_p:
            break
        kept.append(n)
        mass += probs[n]
    return kept


def _search(probs, draw, top_p):
    """Inverse transform sampling from its definition, with exact sums.

    Tokens are gone through in vocabulary order, or from the most probable where there is a
    nucleus, up to the one at which the cumulated probability passes the draw.
    """
    whole = top_p == 1.0
    order = range(len(probs)) if whole else _nucleus(probs, top_p)
    kept = [(Fraction(probs[n]), n) for n in order if probs[n] > 0]
    target, mass = Fraction(draw) * sum(p for p, _ in kept), Fraction(0)
    for p, n in kept:
        mass += p
        if mass > target:
            return n
    raise AssertionError("a draw is below 1")


def _searches(probs, draw, top_p):
    """What the search may give where sums are rounded."""
    near = 1e-11
    draws = {max(0.0, draw - near), draw, min(LAST_DRAW, draw + near)}
    ends = {top_p} if top_p == 1.0 else {top_p * (1 - near), top_p, top_p * (1 + near)}
    return {_search(probs, one, end) for one in draws for end in ends}


@st.composite
def tied_rows(draw: st.DrawFn) -> torch.Tensor:
    """Distributions of one vocabulary with many equal probabilities, and some that are 0."""
    vocabulary, num_rows = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    values = st.sampled_from([-torch.inf, -2.0, 0.0, 0.0, 1.5])
    row = st.lists(values, min_size=vocabulary, max_size=vocabulary).filter(
        lambda row: max(row) > -torch.inf
    )
    return torch.tensor(draw(st.lists(row, min_size=num_rows, max_size=num_rows)))


DRAWS = st.one_of(st.floats(0, LAST_DRAW), st.sampled_from([0.0, 0.25, 0.5, LAST_DRAW]))


@pytest.mark.parametrize(
    "sizes",
    [
        {"BLOCK": 4, "NUCLEUS_GUESS": 5, "SAMPLED_AT_ONCE": 2},
        {"BLOCK": 1, "NUCLEUS_GUESS": 1, "SAMPLED_AT_ONCE": 1},
        {"BLOCK": 16, "NUCLEUS_GUESS": 20},
        {},
    ],
    ids=["small", "ones", "vocabulary", "built_in"],
)
@given(
    rows=tied_rows(),
    draws=st.lists(DRAWS, min_size=1, max_size=6),
    top_p=st.one_of(st.just(1.0), st.floats(0.01, 0.99), st.sampled_from([0.25, 0.5, 0.75])),
    data=st.data(),
)
@example(rows=torch.zeros(1, 9), draws=[0.5], top_p=0.5, data=None)  # ends between equals
def test_choosing_equals_a_plain_search(sizes, rows, draws, top_p, data):
    one = st.integers(0, len(rows) - 1)
    of = data.draw(st.lists(one, min_size=len(draws), max_size=len(draws))) if data else [0]
    sampling = Sampling(temperature=1.0, top_p=top_p)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(module, name, size)
        chosen, logprobs = choose(
            rows, torch.tensor(draws, dtype=torch.float64), sampling, torch.tensor(of)
        )
    probs = rows.softmax(dim=-1).tolist()
    for token, logprob, row, draw in zip(
        chosen.tolist(), logprobs.tolist(), of, draws, strict=True
    ):
        assert token in _searches(probs[row], draw, top_p)
        assert logprob == pytest.approx(np.log(probs[row][token]), abs=1e-5)


@pytest.mark.parametrize("vocabulary", [255, 256, 257, 512, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("top_p", [1.0, 0.3, 0.999])
def test_choosing_equals_a_plain_search_around_the_built_in_sizes(vocabulary, top_p):
    generator = torch.Generator().manual_seed(vocabulary)
    row = torch.randn(1, vocabulary, generator=generator).round(decimals=1)
    row[0, ::3] = -torch.inf
    draws = torch.linspace(0, 1, 40, dtype=torch.float64).clamp_max(LAST_DRAW)
    of = torch.zeros(len(draws), dtype=torch.long)
    chosen, _ = choose(row, draws, Sampling(1.0, top_p), of)
    probs = row.softmax(dim=-1)[0].tolist()
    for token, draw in zip(chosen.tolist(), draws.tolist(), strict=True):
        assert token in _searches(probs, draw, top_p)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.7), Sampling(1.3, top_p=0.8)], ids=str
)
def test_answers_that_share_a_distribution_are_chosen_as_by_themselves(sampling, monkeypatch):
    monkeypatch.setattr(module, "SAMPLED_AT_ONCE", 5)
    rows = 2.0 * torch.randn(8, 40, generator=torch.Generator().manual_seed(0))
    # Not every distribution is drawn from, and not in order.
    of = torch.tensor([7, 0, 2, 2, 5, 0, 3, 3, 3, 2, 6, 0])
    draws = torch.from_numpy(Sampling(seed=5).uniforms("q", len(of)))
    chosen, logprobs = choose(rows, draws, sampling, of)
    for n, row in enumerate(of.tolist()):
        token, logprob = choose(rows[row : row + 1], draws[n : n + 1], sampling)
        assert (chosen[n], logprobs[n]) == (token, logprob)
    together, same_logprobs = choose(rows[of], draws, sampling)
    assert torch.equal(chosen, together)
    assert torch.equal(logprobs, same_logprobs)


@given(scores(), st.floats(0, LAST_DRAW), st.floats(0.01, 1.0), st.floats(0.2, 5.0))
def test_a_token_outside_the_nucleus_is_never_chosen(row, draw, top_p, temperature):
    chosen, _ = choose(row, torch.tensor([draw]), Sampling(temperature, top_p))
    probs = (row.double() / temperature).softmax(dim=-1)[0].tolist()
    # The sum may round to either side of top-p.
    assert int(chosen) in _nucleus(probs, top_p + 1e-12)
    assert probs[int(chosen)] > 0


@pytest.mark.parametrize("top_p", [0.5, 0.9, 1.0])
@given(scores())
def test_the_largest_draw_stays_inside_the_nucleus(top_p, row):
    # Its product with the nucleus's mass may round up to that mass.
    chosen, _ = choose(row, torch.tensor([LAST_DRAW], dtype=torch.float64), Sampling(1.0, top_p))
    probs = row.double().softmax(dim=-1)[0].tolist()
    assert int(chosen) in _nucleus(probs, top_p + 1e-12)


@given(scores())
def test_greedy_takes_the_first_of_the_largest(row):
    chosen, logprob = choose(row, torch.zeros(1), Sampling())
    assert int(chosen) == row[0].tolist().index(row.max().item())
    torch.testing.assert_close(logprob, row.log_softmax(dim=-1).max(dim=-1).values)


@given(scores(), st.floats(0, LAST_DRAW))
def test_a_very_small_nucleus_is_greedy(row, draw):
    chosen, _ = choose(row, torch.tensor([draw]), Sampling(1.0, top_p=1e-9))
    probs = row.double().softmax(dim=-1)[0]
    assert probs[int(chosen)] == probs.max()


@pytest.mark.parametrize(
    ("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.8), (1.7, 0.6)]
)
def test_frequencies_match_the_distribution(temperature, top_p):
    num_draws = 20_000
    row = torch.tensor([1.2, -0.4, 2.0, 0.3, 0.3, -1.0, 0.9, 1.1])
    draws = torch.from_numpy(Sampling(seed=11).uniforms("q", num_draws))
    chosen, _ = choose(row.expand(num_draws, -1), draws, Sampling(temperature, top_p))
    probs = np.exp(row.double().numpy() / temperature)
    kept = _nucleus((probs / probs.sum()).tolist(), top_p)
    counts = np.bincount(chosen.numpy(), minlength=len(row))
    assert counts.sum() == counts[kept].sum() == num_draws
    expected = probs[kept] / probs[kept].sum() * num_draws
    # One seed, so this does not flicker; a wrong distribution gives p below 1e-10.
    assert chisquare(counts[kept], expected).pvalue > 0.01


@pytest.mark.parametrize(("scale", "top_p"), [(1.0, 1.0), (1.0, 0.9), (0.05, 0.8)])
def test_frequencies_match_a_distribution_over_a_large_vocabulary(scale, top_p):
    # Larger than a block and, where it is flat, a nucleus larger than the first guess.
    num_draws, num_bins = 20_000, 50
    row = scale * torch.randn(1, 1500, generator=torch.Generator().manual_seed(2))
    draws = torch.from_numpy(Sampling(seed=4).uniforms("q", num_draws))
    of = torch.zeros(num_draws, dtype=torch.long)
    chosen, _ = choose(row, draws, Sampling(1.0, top_p), of)
    probs = row.double().softmax(dim=-1)[0].numpy()
    kept = _nucleus(probs.tolist(), top_p)
    if scale < 1.0:
        assert len(kept) > module.NUCLEUS_GUESS
    counts = np.bincount(chosen.numpy(), minlength=row.shape[1])
    assert counts[kept].sum() == num_draws
    # Rare tokens by themselves would be too few for the test.
    bins = np.array_split(np.array(kept), num_bins)
    expected = np.array([probs[one].sum() for one in bins]) / probs[kept].sum() * num_draws
    assert chisquare([counts[one].sum() for one in bins], expected).pvalue > 0.01


def test_logprobs_are_those_at_temperature_one():
    row = torch.tensor([[0.0, 1.0, 2.0]])
    chosen, logprob = choose(row, torch.tensor([0.3]), Sampling(temperature=3.0, top_p=0.9))
    torch.testing.assert_close(logprob, row.log_softmax(dim=-1)[0, chosen])


def test_draws_depend_on_seed_and_key_alone():
    one = Sampling(seed=1).uniforms("q0", 20)
    assert np.array_equal(one, Sampling(seed=1, temperature=2.0).uniforms("q0", 20))
    assert np.array_equal(one[:5], Sampling(seed=1).uniforms("q0", 5))
    assert not np.array_equal(one, Sampling(seed=2).uniforms("q0", 20))
    assert not np.array_equal(one, Sampling(seed=1).uniforms("q1", 20))


def test_a_seed_gives_the_same_sampled_answers_again(loaded):
    def answers(seed):
        sampling = Sampling(temperature=1.5, seed=seed)
        found = ensemble(loaded("llama"), sampling=sampling).run(requests())
        return {name: tokens(each) for name, each in found.items()}

    assert answers(0) == answers(0)
    assert answers(0) != answers(1)


def test_sampled_wordings_draw_apart(loaded):
    # Equal wordings have equal distributions; equal draws would give equal answers.
    asked = ensemble(loaded("llama"), "per_prompt", sampling=Sampling(temperature=3.0))
    (answer,) = asked.run(requests([("Who wrote the play?",) * 4], None))["per_prompt"]
    assert len({member.token_ids for member in answer.members}) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature -1.0"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"top_p": 0.0}, "top-p 0.0"),
        ({"top_p": 1.5}, "top-p 1.5"),
        ({"top_p": float("nan")}, "top-p nan"),
    ],
)
def test_a_temperature_or_top_p_out_of_range_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Sampling(**options)


@pytest.mark.parametrize("block", [1, 4, 6, 256])
@given(data=st.data())
def test_the_largest_is_the_first_of_equals_and_nan_before_all(block, data):
    shape = data.draw(st.sampled_from([(1, 1), (3, 12), (2, 2, 24), (2, 7), (1, 512)]))
    values = st.sampled_from([-torch.inf, -1.0, 0.0, 2.0, 2.0, torch.inf, torch.nan])
    size = math.prod(shape)
    scores = torch.tensor(data.draw(st.lists(values, min_size=size, max_size=size))).view(shape)
    if data.draw(st.booleans()):
        scores = scores.nan_to_num(0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        best, places = largest(scores)
    expected, first = scores.max(dim=-1)
    torch.testing.assert_close(best, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(places, first)

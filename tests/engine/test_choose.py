"""The choice of a token: greedy, by temperature, inside the nucleus."""

import numpy as np
import pytest
import torch
from asking import ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from self_ensemble.decoding.choose import Sampling, choose
from self_ensemble.errors import UserError

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

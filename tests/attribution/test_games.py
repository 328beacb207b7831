"""Values of games whose values are known, and of random ones from all orders of the players."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.attribution.games import (
    all_but_one,
    leave_one_out,
    sampled_orders,
    shapley,
    shapley_subsets,
)
from self_ensemble.errors import UserError


def _every_subset(size):
    return [one for k in range(size + 1) for one in combinations(range(size), k)]


def _random_game(size, seed, num_tokens=2):
    rng = np.random.default_rng(seed)
    return {subset: rng.normal(size=num_tokens) for subset in _every_subset(size)}


def _mean_gain_over_all_orders(worth, size):
    orders = list(permutations(range(size)))
    values = np.zeros((len(worth[()]), size))
    for order in orders:
        for place, player in enumerate(order):
            before = tuple(sorted(order[:place]))
            values[:, player] += worth[tuple(sorted((*before, player)))] - worth[before]
    return values / len(orders)


@given(size=st.integers(1, 5), seed=st.integers(0, 99))
def test_exact_values_are_the_mean_gain_over_all_orders(size, seed) -> None:
    worth = _random_game(size, seed)
    found = shapley(worth, size, None)
    np.testing.assert_allclose(found.values, _mean_gain_over_all_orders(worth, size), atol=1e-12)
    assert found.standard_error is None


def test_the_glove_game_has_its_known_values() -> None:
    # Two left gloves and a right one: a pair is worth 1.
    worth = {s: np.array([float(2 in s and len(s) > 1)]) for s in _every_subset(3)}
    np.testing.assert_allclose(shapley(worth, 3, None).values, [[1 / 6, 1 / 6, 4 / 6]])
    np.testing.assert_allclose(leave_one_out(worth, 3), [[0, 0, 1]])


@given(size=st.integers(1, 8), seed=st.integers(0, 99))
def test_values_sum_to_the_whole_sampled_or_not(size, seed) -> None:
    worth = _random_game(size, seed)
    for orders in (None, sampled_orders(7, 3, seed) if size == 7 else None):
        values = shapley(worth, size, orders).values
        np.testing.assert_allclose(
            values.sum(axis=1), worth[tuple(range(size))] - worth[()], atol=1e-9
        )


def test_sampled_values_lie_within_their_stated_error() -> None:
    size = 7
    worth = _random_game(size, 0)
    exact = shapley(worth, size, None).values.sum(axis=0)
    inside = []
    for seed in range(40):
        orders = sampled_orders(size, 30, seed)
        found = shapley(worth, size, orders)
        gap = np.abs(found.values.sum(axis=0) - exact)
        inside.append(gap < 2 * found.standard_error)
    # Two standard errors hold 95 %; with 30 orders a little less.
    assert 0.90 < np.mean(inside) < 0.99


def test_orders_are_those_of_their_seed_and_only_the_sets_on_the_way_are_asked_for() -> None:
    orders = sampled_orders(9, 5, seed=1)
    assert orders == sampled_orders(9, 5, seed=1) != sampled_orders(9, 5, seed=2)
    assert all(sorted(order) == list(range(9)) for order in orders)
    subsets = shapley_subsets(9, orders)
    assert len(subsets) == len(set(subsets)) <= 5 * 8 + 2
    assert {(), tuple(range(9))} <= set(subsets)


def test_up_to_six_players_nothing_is_sampled() -> None:
    assert sampled_orders(6, 24, 0) is None
    assert len(shapley_subsets(6, None)) == 64
    assert sampled_orders(7, 24, 0) is not None
    assert all_but_one(3) == [(0, 1, 2), (1, 2), (0, 2), (0, 1)]


def test_one_order_has_no_error_and_is_refused() -> None:
    with pytest.raises(UserError, match="Got 1 orders"):
        sampled_orders(9, 1, 0)

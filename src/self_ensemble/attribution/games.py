"""Leave one out and Shapley values of any game: what a set of players is worth.

    order 2, 0, 1:    worth of {} -> {2} -> {2, 0} -> {2, 0, 1}      each player's step is its gain

A Shapley value is a player's mean gain over all orders. Exact up to `EXACT_UP_TO` players, which
takes all 2^N sets; beyond, a sample of orders, whose gains still sum to the whole.

Sources: Shapley 1953, "A value for n-person games"; Castro, Gomez and Tejada 2009, "Polynomial
calculation of the Shapley value based on sampling".

N players, T tokens that a set is worth something for.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from self_ensemble.errors import UserError

EXACT_UP_TO = 6
NUM_ORDERS = 24

# Players, ascending.
Subset = tuple[int, ...]
# What sets are worth, `(T,)` each.
Worth = Mapping[Subset, NDArray[np.float64]]


class Gains(NamedTuple):
    """What players have gained.

    Attributes:
        values: Of each token and player, `(T, N)`.
        standard_error: Of the sum over the tokens, `(N,)`; None where nothing was sampled.
    """

    values: NDArray[np.float64]
    standard_error: NDArray[np.float64] | None = None


def all_but_one(num_players: int) -> list[Subset]:
    """The sets that leave-one-out asks for: all players, and all but each, `(1 + N,)`."""
    every = tuple(range(num_players))
    return [every, *(every[:player] + every[player + 1 :] for player in every)]


def leave_one_out(worth: Worth, num_players: int) -> NDArray[np.float64]:
    """What all players are worth, less what they are without each, `(T, N)`."""
    full, *without = (worth[subset] for subset in all_but_one(num_players))
    return np.stack([full - one for one in without], axis=1)


def sampled_orders(num_players: int, num_orders: int, seed: int) -> list[Subset] | None:
    """Orders to sample, or None where all can be taken.

    Raises:
        UserError: Fewer than two, which have no standard error.
    """
    if num_orders < 2:
        raise UserError(f"Got {num_orders} orders for Shapley values. Give 2 or more.", "SE-0010")
    if num_players <= EXACT_UP_TO:
        return None
    rng = np.random.default_rng(seed)
    return [tuple(rng.permutation(num_players).tolist()) for _ in range(num_orders)]


def shapley_subsets(num_players: int, orders: Sequence[Subset] | None) -> list[Subset]:
    """The sets that Shapley values ask for, each once."""
    if orders is None:
        sizes = range(num_players + 1)
        return [one for size in sizes for one in combinations(range(num_players), size)]
    return list(
        dict.fromkeys(
            tuple(sorted(order[:size])) for order in orders for size in range(num_players + 1)
        )
    )


def shapley(worth: Worth, num_players: int, orders: Sequence[Subset] | None) -> Gains:
    """Mean gain of each player: over all orders (None), or over those that were sampled."""
    if orders is None:
        return Gains(_exact(worth, num_players))
    gains_OTN = np.stack([_gains(worth, order) for order in orders])
    whole_ON = gains_OTN.sum(axis=1)
    error = whole_ON.std(axis=0, ddof=1) / np.sqrt(len(orders))
    return Gains(gains_OTN.mean(axis=0), error)


def _exact(worth: Worth, num_players: int) -> NDArray[np.float64]:
    values = np.zeros((len(worth[()]), num_players))
    for subset in shapley_subsets(num_players, None)[:-1]:
        # Share of all orders in which exactly these come before the player.
        share = 1 / (num_players * comb(num_players - 1, len(subset)))
        for player in set(range(num_players)) - set(subset):
            gain = worth[tuple(sorted((*subset, player)))] - worth[subset]
            values[:, player] += share * gain
    return values


def _gains(worth: Worth, order: Subset) -> NDArray[np.float64]:
    """Gain of each player where they come in this order, `(T, N)`."""
    steps = [worth[tuple(sorted(order[:size]))] for size in range(len(order) + 1)]
    values = np.zeros((len(steps[0]), len(order)))
    values[:, list(order)] = np.diff(np.stack(steps, axis=1), axis=1)
    return values

"""Fusion rules as a user would write them in a module of their own."""

import math

NO_RULE = 3


def middle(logits, weights):
    """The median of the logits."""
    return logits.median(dim=-2).values


def transposed(logits, weights):
    return logits.mean(dim=-1)


def undefined(logits, weights):
    return logits.mean(dim=-2) / 0.0 * 0.0


def undefined_once(logits, weights):
    scores = logits.mean(dim=-2)
    scores[-1, 7] = math.nan
    return scores


def in_double(logits, weights):
    return logits.double().mean(dim=-2)


def nothing(logits, weights):
    return None

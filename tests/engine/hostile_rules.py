"""Fusion rules that do what a rule must not do, or that do a rule's work in an unusual form."""

import json
import math
import sys
from functools import partial

import torch

CALLS = []


def mean(logits, weights):
    return logits.mean(dim=-2)


def divides(logits, weights):
    return logits.mean(dim=-2) / (0 * len(weights) // 0)


def exits(logits, weights):
    sys.exit(0)


def ends_as_a_generator(logits, weights):
    raise GeneratorExit


def raises_without_words(logits, weights):
    raise type("Unprintable", (Exception,), {"__str__": lambda self: 1 / 0})


def raises_a_users_error(logits, weights):
    raise ValueError("first line\nsecond line")


def interrupted(logits, weights):
    raise KeyboardInterrupt


def deep_in_torch(logits, weights):
    return torch.cat([logits, weights])


def deep_in_a_library(logits, weights):
    return json.loads("{")


def as_bool(logits, weights):
    return mean(logits, weights) > 0


def as_complex(logits, weights):
    return mean(logits, weights).to(torch.complex64)


def as_integer(logits, weights):
    return mean(logits, weights).long()


def as_float8(logits, weights):
    return mean(logits, weights).to(torch.float8_e4m3fn)


def as_sparse(logits, weights):
    return mean(logits, weights).to_sparse()


def as_meta(logits, weights):
    return mean(logits, weights).to("meta")


def as_nested(logits, weights):
    return torch.nested.nested_tensor(list(mean(logits, weights)))


def as_list(logits, weights):
    return mean(logits, weights).tolist()


def other_shape_each_time(logits, weights):
    CALLS.append(None)
    return mean(logits, weights)[:, : 320 - len(CALLS) % 3]


async def later(logits, weights):
    return mean(logits, weights)


def infinite(logits, weights):
    return torch.full_like(mean(logits, weights), math.inf)


def all_ruled_out(logits, weights):
    return torch.full_like(mean(logits, weights), -math.inf)


def one_nan(logits, weights):
    return mean(logits, weights).index_fill(-1, torch.tensor([7]), math.nan)


def one_infinite(logits, weights):
    return mean(logits, weights).index_fill(-1, torch.tensor([7]), math.inf)


def nan_for_the_widest_question(logits, weights):
    """Not finite where the third wording has much weight: question 1 of three."""
    return mean(logits, weights).where((weights[:, 2] < 0.9)[:, None], math.nan)


def half_of_a_large_vocabulary(logits, weights):
    return torch.zeros(len(logits), 70_000, dtype=torch.float16)


def refuses_nan(logits, weights):
    """As rules that use `torch.distributions` do."""
    if not logits.isfinite().all():
        raise ValueError("nan")
    return mean(logits, weights)


def in_place(logits, weights):
    weights *= 0
    logits -= 5
    logits[..., 0] = -math.inf
    return logits.amax(dim=-2)


def not_in_place(logits, weights):
    other = logits - 5
    other[..., 0] = -math.inf
    return other.amax(dim=-2)


def needs_grad(logits, weights):
    return torch.nn.Parameter(mean(logits, weights).clone())


def with_power(logits, weights, power=1.0):
    return logits.mean(dim=-2) * power


class Powered:
    """A rule that is an object."""

    def __init__(self, power):
        self.power = power

    def __call__(self, logits, weights):
        return with_power(logits, weights, self.power)

    def raising(self, logits, weights):
        return [].pop()


partially = partial(with_power, power=2.0)
instance = Powered(3.0)
bound = instance.raising
anonymous = lambda logits, weights: logits.mean(dim=-2)

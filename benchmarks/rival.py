"""A rival: one way to do the work, and what of it lies inside the clock.

Inside the clock of ours: encoding the prefix once per repetition, tokenising, prefill, decoding,
the answers' text. Of `generate`: the call and nothing else; its padded prompts lie ready. What is
left unequal by this is unequal against us.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.roofline import Needed
from benchmarks.work import Walk
from self_ensemble.passes.engine import Counters

Walks = list[tuple[Walk, ...]]


@dataclass(frozen=True, slots=True)
class Rival:
    """One way to do the work.

    Attributes:
        name: What it is called.
        is_ours: Whether it is this engine.
        num_questions: How many of the work's questions it answers, from the first on.
        num_batches: In how many batches.
        prepare: Done before every run, outside the clock: the model's attention function and
            linear layers.
        encode_prefix: Done once per repetition; None where the prefix is not shared.
        answer: Answers all questions with so many tokens, batch by batch.
        walks: The answers of one batch as tokens of streams, question by question.
        needed: The passes that answers of all questions need.
        num_tokens: Tokens that have gone through the model so far, padding included.
    """

    name: str
    is_ours: bool
    num_questions: int
    num_batches: int
    prepare: Callable[[], None]
    encode_prefix: Callable[[], None] | None
    answer: Callable[[int], Iterator[Any]]
    walks: Callable[[Any], Walks]
    needed: Callable[[Walks], Needed]
    num_tokens: Callable[[], int]


def tokens_through(counters: Counters) -> int:
    """All tokens that went through the model, padding included."""
    return (
        counters.prefix_tokens
        + counters.prompt_tokens
        + counters.decode_tokens
        + counters.padding_tokens
    )

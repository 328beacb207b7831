"""What a campaign of injected faults is, and how its outcomes are counted.

A campaign injects one fault after another, goes on as a user would (reads the message, runs the
command again, with the remedy that the message names), compares what there is in the end with an
undisturbed run, and yields one `Fault` each time.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path


class Verdict(StrEnum):
    """How a fault ended; everything but `SURVIVED` is a defect."""

    SURVIVED = "survived"  # as an undisturbed run, or refused in one line with exit code 2
    LOST = "lost"  # an answer that was on disk is not there in the end
    TWICE = "twice"  # an answer is there more than once
    CHANGED = "changed"  # other answers than an undisturbed run's, without a word
    TRACEBACK = "tracebacks"  # a traceback, a crash, a hang, or an exit code that lies


@dataclass(frozen=True, slots=True)
class Fault:
    """One injected fault: what was done, how it ended, and what was seen where it ended badly."""

    what: str
    verdict: Verdict
    seen: str = ""


# Faults in an order drawn from the generator; where each one stands for itself (a kill before
# every file operation), until there are no more, else without end.
Injections = Callable[[random.Random, Path], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Campaign:
    """A kind of fault.

    Attributes:
        name: In the table.
        injections: What injects them, in a folder of its own.
        few: How many the tests inject, a few seconds' work.
        many: How many `make faults` injects at most.
    """

    name: str
    injections: Injections
    few: int
    many: int

    def run(self, seed: int, folder: Path, number: int) -> Iterator[Fault]:
        """Inject up to `number` faults."""
        return islice(self.injections(random.Random(seed), folder), number)


def table_row(name: str, faults: Iterable[Fault]) -> str:
    """One line of the Markdown table: injected, survived, lost, twice, changed, tracebacks."""
    counts = Counter(fault.verdict for fault in faults)
    numbers = [counts.total(), *(counts[verdict] for verdict in Verdict)]
    return f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |"

"""How time and memory grow with one thing while the rest stays: N, P, questions, batch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmarks.ceilings import Ceilings
from benchmarks.line_up import make_rivals
from benchmarks.measure import measure, measure_once
from benchmarks.memory import bytes_per_question
from benchmarks.summary import Row, summarise
from benchmarks.work import Shape, Work, shape_work
from self_ensemble.errors import UserError, unknown_name

VALUES = {
    "num_paraphrases": (1, 2, 5, 10, 20),
    "prefix": (50, 100, 200, 400, 800, 1600),
    "questions": (100, 1_000, 10_000),
    "batch": (1, 2, 4, 8, 16, 32, 64),
}
GROWING = ("flex_attention", "avg", "generate_one")


class Point(NamedTuple):
    """One rival at one value."""

    value: int
    row: Row


def check_growth(what: str, values: Sequence[int]) -> None:
    """Refuse what cannot grow.

    Raises:
        UserError: An unknown name, or a value below 1.
    """
    if what not in VALUES:
        raise unknown_name("growth", what, VALUES)
    if not values or min(values) < 1:
        raise UserError(f"Got --grow-values {list(values)}. Give whole numbers from 1.", "SE-1101")


def grow(
    like: Work,
    what: str,
    values: Sequence[int],
    shape: Shape,
    ceilings: Ceilings,
    *,
    names: Sequence[str] = GROWING,
    attention: str | None,
    repeats: int,
    report: Callable[[str], None] = lambda line: None,
) -> list[Point]:
    """Measure rivals at every value of one thing, on random tokens.

    Args:
        like: What does not grow is as in this work.
        what: A key of `VALUES`.
        values: Its values.
        shape: The prompts otherwise.
        ceilings: The machine's.
        names: The rivals.
        attention: Backend of ours.
        repeats: Rounds at each value; many questions are answered once.
        report: Is told what is being done.
    """
    check_growth(what, values)
    points = []
    for value in values:
        report(f"growth: {what} = {value}")
        work = _work(like, what, value, shape)
        rivals = make_rivals(work, names, attention=attention)
        if what == "questions":
            measured = [measure_once(work, rival) for rival in rivals]
        else:
            measured = measure(work, rivals, ceilings, repeats=repeats)
        points += [Point(value, row) for row in summarise(work, measured, ceilings)]
    return points


def _work(like: Work, what: str, value: int, shape: Shape) -> Work:
    num_questions, batch_size = len(like.parts), like.batch_size
    if what == "num_paraphrases":
        shape = shape._replace(num_wordings=value)
    elif what == "prefix":
        shape = shape._replace(prefix=value)
    elif what == "questions":
        num_questions = value
    else:
        num_questions = batch_size = value
    work = shape_work(like.loaded, shape, num_questions=num_questions, batch_size=batch_size)
    return replace(work, packs_layers=like.packs_layers, decode=like.decode)


def memory_growth(points: Sequence[Point]) -> dict[str, float]:
    """Bytes of peak memory that each further question costs, by rival; about 0 is right."""
    names = dict.fromkeys(row.name for _, row in points)
    return {
        name: bytes_per_question(
            [value for value, row in points if row.name == name],
            [row.peak_bytes for _, row in points if row.name == name],
        )
        for name in names
    }

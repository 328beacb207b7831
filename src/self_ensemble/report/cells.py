"""Cells of tables: percentages, intervals, unknown numbers and lines of Markdown."""

from collections.abc import Iterable
from math import isnan

from self_ensemble.scoring.statistics import Estimate

MISSING = "-"


def percent(fraction: float, *, signed: bool = False) -> str:
    """A fraction as a percentage with one decimal; a dash if it is nan."""
    if isnan(fraction):
        return MISSING
    # Adding 0.0 turns the -0.0 of a rounded small negative into 0.0.
    value = round(100 * fraction, 1) + 0.0
    return f"{value:+.1f}" if signed and value else f"{value:.1f}"


def percent_interval(estimate: Estimate, *, signed: bool = False) -> str:
    """An estimate in percent, with its interval where there is one."""
    value = percent(estimate.value, signed=signed)
    if isnan(estimate.low):
        return value
    low, high = percent(estimate.low, signed=signed), percent(estimate.high, signed=signed)
    return f"{value} [{low}, {high}]"


def decimal(number: float) -> str:
    """A number with three decimals; a dash if it is nan."""
    return MISSING if isnan(number) else f"{number:.3f}"


def decimal_interval(estimate: Estimate) -> str:
    """An estimate with three decimals, with its interval where there is one."""
    value = decimal(estimate.value)
    if isnan(estimate.low):
        return value
    return f"{value} [{decimal(estimate.low)}, {decimal(estimate.high)}]"


def markdown_line(cells: Iterable[str]) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def empty_if_unknown(values: Iterable[object]) -> list[object]:
    """Values for CSV: nan and None are empty fields."""
    return ["" if _is_unknown(value) else value for value in values]


def none_if_unknown(values: Iterable[object]) -> list[object]:
    """Values for JSON: nan is None."""
    return [None if _is_unknown(value) else value for value in values]


def _is_unknown(value: object) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))

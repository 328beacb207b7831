"""Learned weights, and what they are worth."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_ensemble.scoring.statistics import Estimate
from self_ensemble.weighting.crossval import HeldOut, Learned


@dataclass(frozen=True, slots=True)
class LearnedResult:
    """A file of learned weights.

    Attributes:
        path: The file; `GenerateOptions(weights=str(path))` takes it.
        document: Its fields.
    """

    path: Path
    document: Mapping[str, Any]

    @property
    def learned(self) -> Learned:
        """The weights, and how likely they make the right answers of the dev set."""
        document = self.document
        return Learned(document["weights"], document["nll"], document["nll_uniform"])

    @property
    def held_out(self) -> HeldOut:
        """What they are worth on questions that they were not fitted on, by cross-validation."""
        fields = self.document["cross_validation"]
        numbers = {name: math.nan if value is None else value for name, value in fields.items()}
        return HeldOut(
            fields["folds"],
            numbers["nll_learned"],
            numbers["nll_uniform"],
            Estimate(numbers["difference"], numbers["low"], numbers["high"], fields["questions"]),
        )


def cross_validation_fields(held_out: HeldOut) -> dict[str, object]:
    """A cross-validation as JSON takes it; `LearnedResult.held_out` reads it."""
    numbers = {
        "nll_learned": held_out.learned,
        "nll_uniform": held_out.uniform,
        "difference": held_out.difference.value,
        "low": held_out.difference.low,
        "high": held_out.difference.high,
    }
    return {
        "folds": held_out.num_folds,
        "questions": held_out.difference.n,
        # JSON has no nan.
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
    }

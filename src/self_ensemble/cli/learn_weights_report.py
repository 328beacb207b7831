"""What `learn-weights` writes down of its cross-validation, and tells of a file."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from self_ensemble.cli.setup import count, page_console
from self_ensemble.report.learned_weights import likelihood_table, weights_table
from self_ensemble.scoring.statistics import Estimate
from self_ensemble.weighting.crossval import HeldOut, Learned


def cross_validation_fields(held_out: HeldOut) -> dict[str, object]:
    """A cross-validation as JSON takes it."""
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


def _held_out(fields: Mapping[str, Any]) -> HeldOut:
    """What `cross_validation_fields` has put down."""
    numbers = {name: math.nan if value is None else value for name, value in fields.items()}
    return HeldOut(
        fields["folds"],
        numbers["nll_learned"],
        numbers["nll_uniform"],
        Estimate(numbers["difference"], numbers["low"], numbers["high"], fields["questions"]),
    )


def report_learned(
    document: Mapping[str, Any], path: Path, console: Console, *, as_json: bool
) -> None:
    """Tell what a file of learned weights holds, whether it is new or was there already.

    Args:
        document: Its fields.
        path: The file.
        console: Where messages go.
        as_json: One JSON line instead of tables.
    """
    learned = Learned(document["weights"], document["nll"], document["nll_uniform"])
    num_questions, left_out = len(document["dev_uuids"]), document["left_out"]
    if as_json:
        summary = {
            "file": str(path),
            "by": document["by"],
            "weights": learned.weights,
            "questions": num_questions,
            "left_out": len(left_out),
            "nll": learned.nll,
            "nll_uniform": learned.nll_uniform,
            "cross_validation": document["cross_validation"],
        }
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    held_out = _held_out(document["cross_validation"])
    page = page_console()
    page.print(weights_table(document["indices"], learned))
    page.print(likelihood_table(learned, held_out, num_questions))
    if not held_out.favours_learned:
        page.print(
            "On questions that they were not fitted on, learned weights are not clearly better "
            "than equal ones."
        )
    for uuid, reason in list(left_out.items())[:1]:
        not_asked = count(len(left_out), "question")
        console.print(f"{not_asked} could not be asked; the first is {uuid}: {reason}")
    console.print(f"Weights: {path}")

"""`confidence` on the tiny question file: its command line, and the files that it leaves."""

import json
from pathlib import Path

import pandas as pd
import pytest

from self_ensemble.results.paths import ESTIMATORS
from tests.cli import commands

NUM_SAMPLES = 5
FILES = {name: "confidence" if name == "sampling" else f"confidence-{name}" for name in ESTIMATORS}


def arguments(questions: Path, model: Path, output: Path, *more: str) -> list[str]:
    """The command with few samples per wording; without --estimator that is sampling."""
    # The option is refused where nothing is sampled.
    asked = more[more.index("--estimator") + 1] if "--estimator" in more else "sampling"
    sampled = {"sampling", "all"} & set(asked.split(","))
    few = ["--num-samples", str(NUM_SAMPLES)] if sampled else []
    return commands.arguments("confidence", questions, model, output, *few, *more)


def result(output: Path, estimator: str) -> pd.DataFrame:
    return commands.result(output, FILES[estimator])


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether all columns are the same, confidences to rounding."""
    ours = json.loads(one.drop(columns="confidence").to_json(orient="records"))
    theirs = json.loads(other.drop(columns="confidence").to_json(orient="records"))
    confidences = list(other["confidence"])
    return ours == theirs and list(one["confidence"]) == pytest.approx(
        confidences, abs=1e-4, nan_ok=True
    )

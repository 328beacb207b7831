"""Small result files for the tests of scoring and of `analyze`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd


def record(uuid: str, prediction: str | None, **columns: object) -> dict[str, object]:
    """One row of a result file; the right answer is always Rome."""
    error = "the prompt is too long" if prediction is None else None
    row = {"uuid": uuid, "answers": ["Rome", "Roma"], "prediction": prediction}
    return row | {"generation": prediction, "seconds": 0.5, "error": error} | columns


def write_file(path: Path, records: Sequence[Mapping[str, object]]) -> Path:
    """Write rows the way other tools do, by pandas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(records).to_feather(path)
    return path


def answers_file(path: Path, correct: str) -> Path:
    """Write a file whose question i is right ("1"), wrong ("0"), empty ("_") or an error ("x")."""
    texts = {"1": "It is Rome.", "0": "Oslo", "_": "", "x": None}
    return write_file(path, [record(f"q{i}", texts[mark]) for i, mark in enumerate(correct)])

"""Small confidence files, and result files whose answers have a likelihood."""

from collections.abc import Sequence
from math import log, nan
from pathlib import Path

from result_files import record, write_file

TEXTS = {"1": "It is Rome.", "0": "Oslo", "_": "", "x": None}


def confidence_record(
    uuid: str, mark: str, confidence: float, index: int = 0
) -> dict[str, object]:
    """One row of a confidence file: right ("1"), wrong ("0"), empty ("_") or an error ("x")."""
    prediction = TEXTS[mark]
    failed = prediction is None
    return {
        "uuid": uuid,
        "paraphrase": f"wording {index} of {uuid}",
        "paraphrase_index": index,
        "prompt": "Q: ... A:",
        "answers": ["Rome", "Roma"],
        "greedy_predict": prediction,
        "sample_predicts": [prediction or ""],
        # Stale on purpose: scores are made from the texts.
        "greedy_lemma": ["stale"],
        "sample_lemmas": [["stale"]],
        "answer_lemmas": [["stale"]],
        "confidence": nan if failed else confidence,
        "error": "the prompt is too long" if failed else None,
    }


def confidence_file(path: Path, correct: str, confidences: Sequence[float]) -> Path:
    """Write a confidence file of one wording per question."""
    rows = zip(correct, confidences, strict=True)
    return write_file(
        path, [confidence_record(f"q{i}", mark, value) for i, (mark, value) in enumerate(rows)]
    )


def likelihood_file(path: Path, correct: str, confidences: Sequence[float]) -> Path:
    """Write a result file whose answers have these length-normalised likelihoods."""
    rows = zip(correct, confidences, strict=True)
    return write_file(
        path,
        [
            record(f"q{i}", TEXTS[mark], mean_logprob=nan if mark in "x_" else log(value))
            for i, (mark, value) in enumerate(rows)
        ],
    )

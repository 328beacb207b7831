"""Pairs of predictions and accepted answers that a person judged right or wrong."""

import hashlib
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).with_name("labelled_pairs.tsv")
SEPARATOR = ";;"


class Pair(NamedTuple):
    """One prediction beside the accepted answers.

    Attributes:
        right: The judgement.
        language: Of the text.
        kind: What makes the pair hard.
        prediction: What a model might have said.
        answers: The accepted answers.
    """

    right: bool
    language: str
    kind: str
    prediction: str
    answers: list[str]

    @property
    def is_held_out(self) -> bool:
        """A third, by a hash: not looked at while rules were written."""
        text = f"{self.prediction}\t{SEPARATOR.join(self.answers)}"
        return hashlib.sha256(text.encode()).digest()[0] % 3 == 0


def labelled_pairs() -> list[Pair]:
    """Read the file: a line of names, then right, language, kind, prediction, answers."""
    lines = PATH.read_text(encoding="utf-8").splitlines()[1:]
    fields = [line.split("\t") for line in lines]
    return [
        Pair(right == "1", language, kind, prediction, answers.split(SEPARATOR))
        for right, language, kind, prediction, answers in fields
    ]

"""Pairs of predictions and accepted answers that a person judged right or wrong.

`python tests/scoring/labelled.py` writes the table of docs/scoring.md.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import simplemma

from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma, simplemma_lemmatiser
from self_ensemble.scoring.lenient import lenient_match
from self_ensemble.scoring.match import exact_match, partial_verdict
from self_ensemble.scoring.words import Borders, icu_borders

Rung = Callable[[str, list[str]], bool]

PATH = Path(__file__).with_name("labelled_pairs.tsv")
DOCS = Path(__file__).parents[2] / "docs" / "scoring.md"
TABLE = re.compile(r"(?<=<!-- rungs -->\n).*?(?=<!-- end of rungs -->)", re.DOTALL)
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


def published_rule(prediction: str, answers: list[str]) -> bool:
    """The published rule: an answer's lemmas are a run in the prediction's, as text goes.

    Tokens and lemmas by simplemma's dictionary, lower case, without punctuation.
    """
    said = _tokens(prediction)
    return any(
        wanted and any(said[i : i + len(wanted)] == wanted for i in range(len(said)))
        for wanted in map(_tokens, answers)
    )


def _tokens(text: str) -> list[str]:
    return [simplemma.lemmatize(word, lang="en").lower() for word in re.findall(r"\w+", text)]


def rungs() -> dict[str, Rung]:
    """The columns of the table, each with its judge."""
    lemmatiser = simplemma_lemmatiser()

    def partial(prediction: str, answers: list[str], borders: Borders | None = None) -> bool:
        lemmas = predict_lemma(prediction, lemmatiser), answer_lemmas(answers, lemmatiser)
        return partial_verdict(prediction, answers, *lemmas, borders=borders) == "right"

    return {
        "published rule": published_rule,
        "strict": exact_match,
        "partial": partial,
        "partial, `--words icu`": lambda said, wanted: partial(said, wanted, icu_borders()),
        "lenient": lambda said, wanted: lenient_match(said, wanted, lemmatiser),
    }


def table() -> str:
    """Precision and recall of each rung, in Markdown."""
    lines = [
        "| | all pairs | | held out | |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| rung | precision | recall | precision | recall |",
    ]
    found = labelled_pairs()
    for name, judge in rungs().items():
        cells = [*_quality(judge, found), *_quality(judge, [p for p in found if p.is_held_out])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def quality(judge: Rung, pairs: list[Pair]) -> tuple[float, float]:
    """Precision and recall of a judge."""
    judged = [(judge(pair.prediction, pair.answers), pair.right) for pair in pairs]
    num_both = sum(said and right for said, right in judged)
    return num_both / sum(said for said, _ in judged), num_both / sum(right for _, right in judged)


def _quality(judge: Rung, pairs: list[Pair]) -> list[str]:
    return [f"{number:.2f}" for number in quality(judge, pairs)]


if __name__ == "__main__":
    text = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8", newline="\n")

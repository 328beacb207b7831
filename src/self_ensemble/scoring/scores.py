"""Scores of the rows of one result file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan, nan
from operator import attrgetter
from statistics import fmean, median
from typing import NamedTuple

from self_ensemble.scoring.files import ResultRow
from self_ensemble.scoring.lemmas import Lemmatiser, answer_lemmas, predict_lemma
from self_ensemble.scoring.lenient import lenient_match
from self_ensemble.scoring.match import (
    Verdict,
    exact_match,
    partial_match,
    partial_verdict,
    token_f1,
)
from self_ensemble.scoring.normalise import is_no_answer
from self_ensemble.scoring.words import Borders, has_unspaced


@dataclass(frozen=True, slots=True)
class RowScore:
    """Scores of one prediction.

    Attributes:
        uuid: The question.
        accuracy: 1.0 if the lemma-level partial match holds, else 0.0.
        exact_match: 1.0 if the exact match holds, else 0.0.
        lenient: 1.0 if the lenient match holds, else 0.0.
        token_f1: Overlap of words, 0 to 1.
        no_answer: Whether the prediction is empty; its scores are then 0.
        is_denied: Whether it names an accepted answer only to deny it; its accuracy is then 0.
        is_unspaced: Whether it is, in part, of a script without blanks between words.
        seconds: Time that the answer took; nan if unknown.
        num_tokens: Tokens of the answer; nan if unknown.
        tokens: Tokens through the model for the answer, by its method alone; nan if unknown.
        paraphrase_index: Which wording was asked alone; else None.
    """

    uuid: str
    accuracy: float
    exact_match: float
    lenient: float
    token_f1: float
    no_answer: bool
    is_denied: bool
    is_unspaced: bool
    seconds: float
    num_tokens: float
    tokens: float
    paraphrase_index: int | None


@dataclass(frozen=True, slots=True)
class FileScores:
    """Scores of one result file.

    Attributes:
        rows: The rows that have a prediction, empty ones included.
        error_indices: Of every error row, which is not scored, its paraphrase index.
    """

    rows: tuple[RowScore, ...]
    error_indices: tuple[int | None, ...] = ()

    @property
    def num_errors(self) -> int:
        return len(self.error_indices)

    @property
    def num_no_answer(self) -> int:
        return sum(row.no_answer for row in self.rows)

    @property
    def num_denied(self) -> int:
        return sum(row.is_denied for row in self.rows)

    @property
    def num_unspaced(self) -> int:
        return sum(row.is_unspaced for row in self.rows)

    @property
    def paraphrase_indices(self) -> tuple[int, ...]:
        """The wordings that were asked alone; empty where a row is a fused answer."""
        indices = {row.paraphrase_index for row in self.rows} | set(self.error_indices)
        return tuple(sorted(index for index in indices if index is not None))

    def of_wording(self, index: int) -> "FileScores":
        """The part of the file that asked one wording alone."""
        return FileScores(
            tuple(row for row in self.rows if row.paraphrase_index == index),
            tuple(error for error in self.error_indices if error == index),
        )


def is_right(prediction: str, answers: Sequence[str], lemmatiser: Lemmatiser) -> bool:
    """Whether the lemma-level partial match holds, on lemmas made here from the texts."""
    return partial_match(
        prediction,
        answers,
        predict_lemma(prediction, lemmatiser),
        answer_lemmas(answers, lemmatiser),
    )


def score_rows(
    rows: Iterable[ResultRow], lemmatiser: Lemmatiser, borders: Borders | None = None
) -> FileScores:
    """Score every row that has a prediction and count the error rows.

    Lemmas are computed here from the texts, so that all files are scored by the same lemmatiser
    whatever wrote them. `borders` are those of `partial_verdict`.
    """
    scored, errors = [], []
    for row in rows:
        if row.error is None and row.prediction is not None:
            scored.append(_score(row, row.prediction, lemmatiser, borders))
        else:
            errors.append(row.paraphrase_index)
    return FileScores(tuple(scored), tuple(errors))


def accuracy_by_question(scores: FileScores) -> dict[str, float]:
    """Accuracy of each question, the mean over its wordings where it has several."""
    return values_by_question(scores, "accuracy")


def values_by_question(scores: FileScores, measure: str) -> dict[str, float]:
    """A score of each question, the mean over its wordings where it has several.

    Args:
        scores: The file.
        measure: Name of a score of `RowScore`, such as "token_f1".
    """
    value = attrgetter(measure)
    return {uuid: fmean(map(value, rows)) for uuid, rows in _questions(scores).items()}


def exact_match_of(scores: FileScores) -> float:
    """Mean exact match over questions; nan if none was scored."""
    return _mean(fmean(row.exact_match for row in rows) for rows in _questions(scores).values())


def lenient_of(scores: FileScores) -> float:
    """Mean lenient match over questions; nan if none was scored."""
    return _mean(fmean(row.lenient for row in rows) for rows in _questions(scores).values())


def token_f1_of(scores: FileScores) -> float:
    """Mean token F1 over questions; nan if none was scored."""
    return _mean(fmean(row.token_f1 for row in rows) for rows in _questions(scores).values())


def seconds_per_question(scores: FileScores) -> float:
    """Median time of a question, all its wordings together; nan if no time is known.

    The median, because the first batch of a run also pays for warming up and compiling.
    """
    times = [sum(row.seconds for row in rows) for rows in _questions(scores).values()]
    known = [time for time in times if not isnan(time)]
    return median(known) if known else nan


def tokens_per_question(scores: FileScores) -> float:
    """Mean number of tokens through the model for a question, all its wordings together.

    Over the questions whose wordings are all answered, since an error row has no number. nan where
    one of them has none: a mean over some of the questions would look like one over all.
    """
    num_rows = max(1, len(scores.paraphrase_indices))
    questions = [rows for rows in _questions(scores).values() if len(rows) == num_rows]
    return _mean(sum(row.tokens for row in rows) for rows in questions)


def answer_tokens_per_question(scores: FileScores) -> float:
    """Mean number of tokens in the answers to a question, over its wordings; nan if unknown."""
    sums = [sum(row.num_tokens for row in rows) for rows in _questions(scores).values()]
    return _mean(number for number in sums if not isnan(number))


def _score(
    row: ResultRow, prediction: str, lemmatiser: Lemmatiser, borders: Borders | None
) -> RowScore:
    judged = _judge(prediction, row.answers, lemmatiser, borders)
    return RowScore(
        uuid=row.uuid,
        accuracy=float(judged.verdict == "right"),
        exact_match=float(judged.exact),
        lenient=float(judged.lenient),
        token_f1=judged.f1,
        no_answer=is_no_answer(prediction),
        is_denied=judged.verdict == "denied",
        is_unspaced=has_unspaced(prediction),
        seconds=row.seconds,
        num_tokens=row.num_tokens,
        tokens=row.tokens,
        paraphrase_index=row.paraphrase_index,
    )


class _Judgement(NamedTuple):
    verdict: Verdict
    exact: bool
    lenient: bool
    f1: float


# Methods give the same answer to most questions.
@lru_cache(maxsize=1 << 17)
def _judge(
    prediction: str, answers: tuple[str, ...], lemmatiser: Lemmatiser, borders: Borders | None
) -> _Judgement:
    lemmas = predict_lemma(prediction, lemmatiser), answer_lemmas(answers, lemmatiser)
    verdict = partial_verdict(prediction, answers, *lemmas, borders=borders)
    is_right = verdict == "right"
    return _Judgement(
        verdict,
        exact=is_right and exact_match(prediction, answers),
        lenient=is_right or lenient_match(prediction, answers, lemmatiser, borders),
        f1=token_f1(prediction, answers),
    )


def _questions(scores: FileScores) -> Mapping[str, list[RowScore]]:
    questions: dict[str, list[RowScore]] = {}
    for row in scores.rows:
        questions.setdefault(row.uuid, []).append(row)
    return questions


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return fmean(numbers) if numbers else nan

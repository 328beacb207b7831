"""The answers behind a comparison: which were gained, lost or new, or are only others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.analysis.wording_matrix import PER_PROMPT
from self_ensemble.scoring.files import ResultRow
from self_ensemble.scoring.normalise import normalise

KINDS = ("gained", "lost", "new", "disagree")


@dataclass(frozen=True, slots=True)
class WordingAnswer:
    """What a wording says that was asked alone; the prediction is None in an error row."""

    wording: str
    prediction: str | None
    right: bool


@dataclass(frozen=True, slots=True)
class ChangedAnswer:
    """A question that a file and its baseline answer otherwise.

    Attributes:
        uuid: The question.
        question: Its first wording; "" where the files do not say it.
        answers: Accepted answers.
        file: The file.
        prediction: Its answer.
        right: Whether it is right.
        baseline: The baseline's answer; None where it has none.
        baseline_right: Whether that is right.
        alone: The answer of each wording alone; empty where there is no `per_prompt` file.
    """

    uuid: str
    question: str
    answers: tuple[str, ...]
    file: str
    prediction: str
    right: bool
    baseline: str | None
    baseline_right: bool
    alone: tuple[WordingAnswer, ...]


def changed_answers(
    uuids: Sequence[str], names: tuple[str, str], files: Mapping[str, LoadedFile]
) -> tuple[ChangedAnswer, ...]:
    """Put together all that was said to some questions.

    Args:
        uuids: The questions, which the first file answers.
        names: The file and its baseline.
        files: All files of the folder.
    """
    texts = question_texts(files)
    ours, baseline = (_answers(files[name]) for name in names)
    alone = _alone(files[PER_PROMPT]) if PER_PROMPT in files else {}
    found = []
    for uuid in uuids:
        row, right = ours[uuid]
        other, other_right = baseline.get(uuid, (None, False))
        found.append(
            ChangedAnswer(
                uuid=uuid,
                question=texts.get(uuid, ""),
                answers=row.answers,
                file=names[0],
                prediction=row.prediction or "",
                right=right,
                baseline=None if other is None else other.prediction,
                baseline_right=other_right,
                alone=tuple(alone.get(uuid, ())),
            )
        )
    return tuple(found)


def disagreeing(ours: LoadedFile, baseline: LoadedFile) -> tuple[str, ...]:
    """Questions that both answer, and not with the same words once normalised."""
    other = {row.uuid: row.prediction for row in baseline.rows}
    return tuple(
        row.uuid
        for row in ours.rows
        if (theirs := other.get(row.uuid)) is not None
        and row.prediction is not None
        and normalise(row.prediction) != normalise(theirs)
    )


def question_texts(files: Mapping[str, LoadedFile]) -> dict[str, str]:
    """The first wording of each question, as any of the files says it."""
    texts: dict[str, str] = {}
    for file in files.values():
        for row in file.rows:
            # Of wordings that were asked alone, the first is the question.
            if row.wordings and not row.paraphrase_index:
                texts.setdefault(row.uuid, row.wordings[0])
    return texts


def _answers(file: LoadedFile) -> dict[str, tuple[ResultRow, bool]]:
    scores = file.score_of()
    return {
        row.uuid: (row, score.accuracy > 0)
        for row in file.rows
        if (score := scores.get((row.uuid, row.paraphrase_index))) is not None
    }


def _alone(file: LoadedFile) -> dict[str, list[WordingAnswer]]:
    scores = file.score_of()
    found: dict[str, list[WordingAnswer]] = {}
    for row in file.rows:
        score = scores.get((row.uuid, row.paraphrase_index))
        right = score is not None and score.accuracy > 0
        wording = row.wordings[0] if row.wordings else f"wording {row.paraphrase_index}"
        found.setdefault(row.uuid, []).append(WordingAnswer(wording, row.prediction, right))
    return found

"""WebQuestions: questions that web users asked, one wording each.

Berant, Chou, Frostig, Liang, "Semantic Parsing on Freebase from Question-Answer Pairs",
EMNLP 2013. Few-shot examples come from its training side.
"""

from collections.abc import Iterable
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.files import INSTRUCTION, unique_questions
from self_ensemble.questions.hub import content_sha256, load_split, split_rows
from self_ensemble.questions.rows import Row
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.questions.shots import draw_shots
from self_ensemble.questions.tables import read_table

NAME = "webqa"
HUB_ID = "stanfordnlp/web_questions"
HUB_COLUMNS = ("url", "question", "answers")


def load_from_folder(folder: Path, *, num_shots: int, seed: int) -> QuestionSet:
    """Load `webquestions/{train,test}.jsonl` below the folder, or those two files in it."""
    inside = folder / "webquestions"
    here = inside if inside.is_dir() else folder
    if not (here / "test.jsonl").is_file():
        raise UserError(
            f"--data {folder} holds neither webquestions/test.jsonl nor test.jsonl. "
            "Give the folder above webquestions/, or leave --data out to use the hub.",
            "SE-0114",
        )
    train, test = read_table(here / "train.jsonl"), read_table(here / "test.jsonl")
    source = f"{here} (sha256 train {train.sha256}, test {test.sha256})"
    return from_rows(train.rows, test.rows, num_shots=num_shots, seed=seed, source=source)


def load_from_hub(*, num_shots: int, seed: int) -> QuestionSet:
    """Load the two splits from the hub."""
    train, test = (
        tuple(split_rows(load_split(HUB_ID, split), HUB_COLUMNS, f"{HUB_ID} {split}"))
        for split in ("train", "test")
    )
    sha256 = content_sha256(dict(row.values) for row in (*train, *test))
    source = f"{HUB_ID} (sha256 {sha256})"
    return from_rows(train, test, num_shots=num_shots, seed=seed, source=source)


def from_rows(
    train: Iterable[Row], test: Iterable[Row], *, num_shots: int, seed: int, source: str
) -> QuestionSet:
    """Make the data set of rows with `question`, `answers` and perhaps `id`."""
    questions = unique_questions(test)
    shots = draw_shots(
        unique_questions(train),
        questions,
        num_shots=num_shots,
        seed=seed,
        source=f"The training side of {NAME}",
    )
    return QuestionSet(
        name=NAME,
        questions=questions,
        shots=shots,
        instruction=INSTRUCTION,
        max_new_tokens=20,
        source=source,
    )

"""Questions as tests compare them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from self_ensemble.questions import Question, load_questions

Writer = Callable[[str, Iterable[object]], Path]
Read = list[tuple[str, tuple[str, ...], tuple[str, ...]]]


def load(path: Path, **options: str) -> tuple[Question, ...]:
    return load_questions(str(path), num_shots=0, **options).questions


def read(path: Path, **options: str) -> Read:
    return [(q.uuid, q.wordings, q.answers) for q in load(path, **options)]

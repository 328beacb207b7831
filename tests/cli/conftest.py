from pathlib import Path

import pytest

from tests.cli.commands import question_rows, write_rows


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory, tiny_judge) -> Path:
    """A model folder with room for the question about the answer, and tokens to answer it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    for part in tiny_judge(positions=1024):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def questions(tmp_path) -> Path:
    """A user's file: ten questions in three wordings with weights."""
    return write_rows(tmp_path / "bridges.jsonl", question_rows())

"""Every example of docs/data.md is read as the page says, or refused as it says."""

import re
from pathlib import Path

import pytest

from self_ensemble.questions import load_questions
from self_ensemble.questions.answers import answers_of
from self_ensemble.questions.tables import SUFFIXES

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
FILES = dict(re.findall(r"```\w+ (\S+)\n(.*?)```", PAGE, re.DOTALL))
CELLS = [
    line[2:-2].split("` | ", 1)
    for table in re.findall(r"\| (?:written|refused) \|.*?\n\n", PAGE, re.DOTALL)
    for line in table.splitlines()
    if line.startswith("| `")
]
READ = [(cell[1:], re.findall("`([^`]*)`", rest)) for cell, rest in CELLS if rest[0] == "`"]
REFUSED = [cell[1:] for cell, rest in CELLS if rest[0] != "`"]


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_page_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name])
    (question,) = load_questions(str(tmp_path / name), num_shots=0).questions
    assert question.wordings[0] == "Which river is long?"
    assert question.answer_texts == ("Amu", "Oxus")


@pytest.mark.parametrize(("text", "answers"), READ)
def test_every_answer_of_the_page_is_read_as_it_says(text: str, answers: list[str]) -> None:
    assert answers_of(text) == tuple(answers)


@pytest.mark.parametrize("text", REFUSED)
def test_every_refused_answer_of_the_page_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        answers_of(text)


def test_the_page_names_every_kind_of_file() -> None:
    assert len(FILES) >= 18
    assert (len(READ), len(REFUSED)) == (16, 14)
    assert [suffix for suffix in SUFFIXES if f"`{suffix}`" not in PAGE] == []

"""`generate --show-questions`: what was understood, before any model is loaded."""

import json
from pathlib import Path

import pytest

from self_ensemble.cli.main import main


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(
        "question;answers\n"
        "Who?;\"['Ann' 'Anna']\"\n"
        "When? ;1945\n"
        "Nobody?;\n"
    )  # fmt: skip
    return path


def generate(path: Path, *more: str) -> int:
    # The model does not exist: it would be an error to look for it.
    command = ["generate", "--dataset", str(path), "--model", "owner/none", "--num-shots", "0"]
    return main([*command, "--output-dir", str(path.parent / "out"), *more])


def test_the_first_questions_are_shown_as_they_are_understood(table, capsys) -> None:
    assert generate(table, "--show-questions", "2") == 0
    out = capsys.readouterr().out
    assert "mine: 3 questions from" in out
    assert "without an accepted answer, so not asked: 1" in out
    assert "wording 1: 'Who?'\n  answer 1: 'Ann'\n  answer 2: 'Anna'" in out
    assert "wording 1: 'When? '\n  answer 1: '1945'" in out
    assert "Nobody" not in out
    assert not (table.parent / "out").exists()


def test_the_same_as_json(table, capsys) -> None:
    assert generate(table, "--show-questions", "1", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["questions"] == 3
    assert [(q["wordings"], q["answers"]) for q in shown["shown"]] == [(["Who?"], ["Ann", "Anna"])]


def test_options_reach_the_reader(tmp_path, capsys) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes("q\tgold\n".encode("cp1252") + "Caf\u00e9?\ta|b\n".encode("cp1252"))
    options = ["--columns", "question=q,answers=gold", "--encoding", "cp1252"]
    assert generate(path, "--show-questions", "1", *options) == 2
    assert "--answers-separator '|'" in capsys.readouterr().err
    assert generate(path, "--show-questions", "1", *options, "--answers-separator", "|") == 0
    out = capsys.readouterr().out
    assert "wording 1: 'Caf\u00e9?'\n  answer 1: 'a'\n  answer 2: 'b'" in out


def test_a_number_below_one_is_refused(table, capsys) -> None:
    assert generate(table, "--show-questions", "0") == 2
    assert "Got --show-questions 0. Give 1 or more." in capsys.readouterr().err

"""The quick start works as it stands, command after command."""

import re
from pathlib import Path

import pytest

from self_ensemble.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text()
README = (Path(__file__).parents[2] / "README.md").read_text()
FILES = dict(re.findall(r"```\w+ (\S+)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [line.strip().split()[1:] for line in re.findall(r"^ {4}(self-ens.+)$", PAGE, re.M)]


@pytest.mark.model
@pytest.mark.slow
def test_every_command_of_the_quick_start_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    assert len(COMMANDS) == 5
    for command in COMMANDS:
        assert main(command) == 0, capsys.readouterr().err
    assert (tmp_path / "results/questions/smollm2_135m_it/flex_attention-3.feather").is_file()
    assert (tmp_path / "why.html").is_file()
    assert "100.0 [29.2, 100.0]" in capsys.readouterr().out


def test_the_front_page_s_commands_are_those_of_the_quick_start():
    lines = re.findall(r"^ {4}self-ensemble +(.+)$", README, re.M)
    assert len(lines) == 2
    assert [line for line in lines if line.split() not in COMMANDS] == []

"""Every `self-ensemble ...` line that the documents show has options and names that there are."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from docs_site.pages import OUTSIDE, ROOT
from self_ensemble.cli import known_names
from self_ensemble.cli.main import app

COMMANDS = typer.main.get_command(app).commands
# RESULTS.md keeps the commands of its day.
PAGES = sorted(
    [*(ROOT / path for path in OUTSIDE if "RESULTS" not in path), *(ROOT / "docs").glob("*.md")]
)
# Behind it only what another program takes.
PASSED_ON = "lm-eval"


def shown(page: Path) -> list[str]:
    """Command lines of a page, continued ones whole, without what is said beside them."""
    text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
    lines = re.findall(
        r"^ {4,}(self-ensemble [^\n]*)|`(self-ensemble [^`\n]*)`", text, re.MULTILINE
    )
    return [re.split(r" {3,}| #", re.sub(r"[][]", "", a or b))[0] for a, b in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_documented_commands_have_options_that_there_are(page):
    for line in shown(page):
        _, *words = shlex.split(line.replace("...", ""))
        if not words or words[0].startswith("-") or words[0].isupper():
            continue
        name, *options = words
        assert name in COMMANDS, line
        if name == PASSED_ON:
            continue
        known = {option for one in COMMANDS[name].params for option in one.opts}
        given = {word.partition("=")[0].replace("_", "-") for word in options if word[:2] == "--"}
        assert given <= known | {"--debug", "--help"}, line
        for option, value in pairwise(options):
            if option == "--method" and not value.isupper():
                known_names.methods([value])


def test_lines_are_found():
    lines = [line for page in PAGES for line in shown(page)]
    assert "self-ensemble doctor" in lines
    assert len(lines) > 150

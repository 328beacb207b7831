"""The documentation's pages: made from the code, complete, and with links that lead somewhere."""

import re
from pathlib import Path

import pytest
import typer

import self_ensemble
from docs_site.commands import commands_page
from docs_site.pages import ROOT, copied, for_site
from docs_site.pictures import FOLDER, PICTURES
from docs_site.python_api import python_page
from self_ensemble.cli.main import app

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks/RESULTS.md"])


def test_the_page_of_commands_has_every_command_and_option():
    page = commands_page()
    for name, command in typer.main.get_command(app).commands.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        missing = [
            option
            for parameter in command.params
            if not getattr(parameter, "hidden", False)
            for option in parameter.opts
            if f"`{option}`" not in section
        ]
        assert missing == []


def test_no_help_loses_what_stands_in_brackets():
    assert 'pip install "self-ensemble\\[ray\\]"' in commands_page()


def test_the_page_of_python_names_has_every_public_name():
    page = python_page()
    public = [name for name in self_ensemble.__all__ if not name.startswith("__")]
    assert [name for name in public if not re.search(rf"^::: \S+\.{name}$", page, re.M)] == []


def test_every_page_stands_in_the_navigation_and_has_a_chinese_title():
    config = (ROOT / "mkdocs.yml").read_text()
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if ".zh." not in page.name]
    assert [page for page in pages if f": {page}\n" not in config] == []
    titles = re.findall(r"^ +- ([^:\n]+):", config.partition("\nnav:")[2], re.M)
    assert len(titles) > 20
    assert [title for title in titles if f" {title}: " not in config.partition("\nnav:")[0]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_in_the_repository_leads_to_a_file(page: Path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text)
    # What is generated has no page in the repository.
    made = {"commands.md", "python.md"}
    local = [link for link in links if ":" not in link and Path(link).name not in made]
    assert [link for link in local if not (page.parent / link).is_file()] == []


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_engine_s_functions_say(name: str):
    assert (FOLDER / name).read_text() == PICTURES[name]().svg()


def test_links_of_the_repository_become_those_of_the_site():
    text = "[a](../DESIGN.md#positions) [b](data.md) [c](../tests/scoring/labelled_pairs.tsv)"
    assert for_site(text, "scoring.md") == (
        "[a](design.md#positions) [b](data.md) [c](files/tests/scoring/labelled_pairs.tsv)"
    )
    assert copied(text, "docs/scoring.md") == {"tests/scoring/labelled_pairs.tsv"}
    code = "As this:\n\n    [e](docs/data.md)\n\n`[f](docs/data.md)`"
    assert for_site(f"{code} [d](docs/data.md)", "index.md") == f"{code} [d](data.md)"


def test_chinese_lines_are_joined_without_a_blank_and_code_keeps_its_lines():
    text = "一种措辞，\n`avg` 和\n投票。\n- 甲：\n- 乙\n  丙（\n3 次）\n\n    甲\n    乙\n"  # noqa: RUF001
    joined = "一种措辞，`avg` 和投票。\n- 甲：\n- 乙丙（3 次）\n\n    甲\n    乙\n"  # noqa: RUF001
    assert for_site(text, "a.zh.md") == joined
    assert for_site(text, "a.md") == text


def test_the_name_of_a_file_becomes_the_title_of_its_code():
    assert for_site("```csv a.csv\nq,a\n```\n", "data.md") == '```csv title="a.csv"\nq,a\n```\n'

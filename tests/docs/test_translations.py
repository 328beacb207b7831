"""Chinese pages say what their English ones say, or `make docs` fails."""

from pathlib import Path

import pytest

from docs_site.translations import english_pages, faults, page_faults, record

ENGLISH = """# Ask

It takes 5 wordings ([more](data.md)) and `--num`. 27 November 2026.

    self-ensemble generate --num 5    # ask

## Then
"""
CHINESE = """# 提问

需要 5 种措辞[更多](data.md)和 `--num`。2026 年 11 月 27 日。

    self-ensemble generate --num 5    # 提问

## 然后
"""


@pytest.fixture
def page(tmp_path) -> Path:
    (tmp_path / "ask.md").write_text(ENGLISH)
    page = tmp_path / "ask.zh.md"
    page.write_text(CHINESE)
    record(page)
    return page


def test_every_chinese_page_is_in_step():
    assert faults() == []


def test_a_translation_in_other_words_is_in_step(page):
    assert page_faults(page) == []


def test_a_page_without_a_chinese_one_is_a_fault(page):
    page.unlink()
    (line,) = page_faults(page)
    assert "ask.md has no Chinese page" in line


def test_every_page_for_users_is_looked_at():
    names = {page.name for page in english_pages()}
    assert {"README.md", "tour.md", "serve.md"} <= names
    assert not names & {"code.md", "tour.zh.md"}


def test_a_changed_english_page_asks_for_its_translation(page):
    english = page.with_name("ask.md")
    english.write_text(ENGLISH.replace("It takes", "It needs"))
    (line,) = page_faults(page)
    assert "ask.md has changed" in line
    assert "--record" in line
    record(page)
    assert page_faults(page) == []


@pytest.mark.parametrize(
    ("said", "here", "kind"),
    [
        ("5 种", "6 种", "numbers"),
        ("11 月", "12 月", "numbers"),
        ("## 然后\n", "", "headings"),
        ("--num 5", "--num 6", "blocks of code"),
        ("`--num`", "`--nam`", "code"),
        ("(data.md)", "(other.md)", "links"),
    ],
)
def test_what_does_not_depend_on_the_language_must_be_the_same(page, said, here, kind):
    page.write_text(page.read_text().replace(said, here))
    assert [line for line in page_faults(page) if f"other {kind} than ask.md" in line]


def test_a_page_that_does_not_say_what_it_was_translated_from_is_told(page):
    page.write_text(CHINESE)
    (line,) = page_faults(page)
    assert "does not begin with the line" in line

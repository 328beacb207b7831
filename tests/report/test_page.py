"""Pages: what a user typed is text, nothing is fetched, and all of it can be seen."""

import html
import json
import re
from itertools import pairwise

import pytest

from self_ensemble.errors import UserError
from self_ensemble.report.page import page
from self_ensemble.report.page.page import external, hue, render_page, shown

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028\ud800&"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The pages' own folder with a template, a style and a script of a page more."""
    for file in page.FOLDER.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "one.html.j2").write_text(
        '{% extends "base.html.j2" %}{% block main %}'
        '<p title="{{ text }}">{{ text }}</p>{% endblock %}'
    )
    (tmp_path / "one.css").write_text("p { color: red; }")
    (tmp_path / "one.js").write_text("if (1 < 2 && true) document.title = 'ran';")
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    return tmp_path


def test_a_users_text_is_escaped_in_text_attributes_title_and_data(folder):
    made = render_page(
        "one.html.j2", title=HOSTILE, script="one.js", text=HOSTILE, data={"t": HOSTILE}
    )
    assert made.count("<script") == 2
    assert "<img" not in made
    data = re.search(r'id="data">(.*?)</script>', made, re.DOTALL)[1]
    assert json.loads(data) == {"t": HOSTILE}
    title = re.search(r"<title>(.*?)</title>", made, re.DOTALL)[1]
    assert html.unescape(title) == shown(HOSTILE)
    # Half a character has no bytes.
    assert made.encode()


def test_style_and_script_of_a_page_are_in_it_as_they_are(folder):
    made = render_page("one.html.j2", title="t", style="one.css", script="one.js", text="")
    assert "p { color: red; }" in made
    assert "<script>if (1 < 2 && true)" in made
    assert "script-src 'sha256-" in html.unescape(made)
    assert "script-src" not in render_page("one.html.j2", title="t", text="")


@pytest.mark.parametrize(
    "line",
    [
        '<img src="https://example.org/x.png">', '<link rel="x" href="//example.org/x.css">',
        "<style>@import 'x.css';</style>", '<p style="background: URL(x.png)">',
        '<a href="https://example.org">', "<script src=x.js></script>",
    ],
)  # fmt: skip
def test_what_would_be_fetched_is_found(line):
    assert len(external(f"<p>{line}</p>")) == 1


def test_addresses_in_text_and_links_inside_the_page_fetch_nothing():
    assert external('<p>https://example.org url(x)</p><a href="#a"><img src="data:,">') == []


def test_a_page_that_is_too_large_is_refused(folder):
    with pytest.raises(UserError, match=r"The page would have 3\.0 MB, and a page has 2 at most"):
        render_page("one.html.j2", title="t", text="", data=["a" * 3_000_000])


def test_what_cannot_be_seen_is_shown():
    text = "a\x00\x1b\x7f\x85\u202e\ud800\n\tb \U0001f600 \u05d0"
    seen = "a\u2400\u241b\u2421<U+0085><U+202E><U+D800>\n\tb \U0001f600 \u05d0"
    assert shown(text) == seen
    assert shown("a\u200b\u2028\ufeff\xad") == "a<U+200B><U+2028><U+FEFF><U+00AD>"
    joined = "\u0645\u06cc\u200c\u0634 \U0001f469\u200d\U0001f467"
    assert shown(joined) == joined


def test_twenty_wordings_have_twenty_colours():
    hues = [hue(number) for number in range(20)]
    assert len(set(hues)) == 20
    assert min(abs(a - b) for a, b in pairwise(hues)) > 90

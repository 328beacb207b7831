"""The built site: strict, whole, in two languages, and nothing is fetched when it is viewed."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs_site.pages import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("mkdocs") is None,
        reason='needs pip install "self-ensemble[docs]"',
    ),
]
# What a browser fetches by itself: not links, which a reader follows.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|data|srcset)\s*=\s*"
    r"[\"']?([^\"'\s>]+)|<link\b[^>]*?href\s*=\s*[\"']?([^\"'\s>]+)|url\(\s*[\"']?([^\"')]+)|"
    r"@import\s+[\"']([^\"']+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "docs_site", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_fetches_nothing_from_elsewhere(site):
    elsewhere, num_seen = [], 0
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        for groups in FETCHED.findall(path.read_text()):
            (resource,) = filter(None, groups)
            num_seen += 1
            if re.match(r"(https?:)?//", resource):
                elsewhere.append((path.name, resource))
    assert num_seen > 500
    assert elsewhere == []


def test_no_page_asks_a_code_host_or_counts_its_readers(site):
    # The theme's script asks GitHub for stars where a repository is named.
    for path in site.rglob("*.html"):
        page = path.read_text()
        assert not re.search(r"data-md-component=\"?source", page)
        assert not re.search("google-analytics|googletagmanager", page)


def test_every_page_is_there_in_both_languages(site):
    names = {path.name for path in site.glob("*.html")} - {"404.html"}
    assert {path.name for path in (site / "zh").glob("*.html")} == names
    assert {
        "index.html",
        "quickstart.html",
        "commands.html",
        "python.html",
        "design.html",
    } <= names
    assert re.search(r"<html[^>]* lang=\"?zh", (site / "zh/quickstart.html").read_text())


def test_the_python_page_has_signatures_and_docstrings(site):
    page = (site / "python.html").read_text()
    assert 'id="self_ensemble.ensemble.Ensemble.answer"' in page
    assert "The message is one line" in page


def test_links_and_pictures_lead_to_files_of_the_site(site):
    broken = []
    for path in site.rglob("*.html"):
        inside = r"(?:href|src)=\"?(?!https?:|data:)([^\"#?\s>]+)"
        for link in re.findall(inside, path.read_text()):
            if path.name != "404.html" and not (path.parent / link).exists():
                broken.append((path.name, link))
    assert broken == []

"""The version stands once."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import self_ensemble

ROOT = Path(__file__).parents[2]


def test_the_package_s_metadata_have_the_version_of_the_code():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "self_ensemble.__version__"
    }
    assert version("self-ensemble") == self_ensemble.__version__


def test_the_citation_has_the_version_of_the_code():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.M) == [self_ensemble.__version__]

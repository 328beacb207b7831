"""Every refusal has a code that stays, and a place on the page that says what to do."""

import pickle
import re
from pathlib import Path

import pytest

from self_ensemble.cli.main import main
from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import DamagedError
from self_ensemble.walking.user_rule import RuleError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SECTIONS = dict(re.findall(r"^### (SE-\d{4})\n(.*?)(?=\n##|\Z)", PAGE, re.M | re.S))


def test_the_page_and_the_code_have_the_same_codes():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    used = {code for path in files for code in re.findall(r'"(SE-\d{4})"', path.read_text())}
    assert used == set(SECTIONS)
    assert len(SECTIONS) > 70


@pytest.mark.parametrize("code", SECTIONS)
def test_every_code_has_a_cause_and_a_remedy(code):
    assert PAGE.count(f"### {code}\n") == 1
    cause, _, rest = SECTIONS[code].partition("**")[2].partition("**")
    assert len(cause.split()) >= 3
    assert len(rest.split()) >= 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["generate"], "SE-0001"),
        (["generate", "--dataset", "nowhere.csv"], "SE-0101"),
        (["generate", "--dataset", "demo", "--method", "agv"], "SE-0011"),
        (["generate", "--dataset", "demo", "--top-p", "0.5"], "SE-0607"),
        (["analyze", "--output-dir", "nowhere", "--compare-all"], "SE-0901"),
    ],
)
def test_the_line_ends_with_the_code(arguments, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f" [{code}]")


@pytest.mark.parametrize(
    "error",
    [
        UserError("There is none.", "SE-0101"),
        DamagedError(Path("a.feather"), "it is cut short", "Make it again."),
        RuleError("The rule fails."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_from_a_worker_is_the_same(error):
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there), there.code) == (type(error), str(error), error.code)
    assert vars(there) == vars(error)

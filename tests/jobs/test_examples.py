"""The examples of README, tour and docstrings, which a notebook's user writes first."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOBS = (
    *(f"jobs.{name}" for name in ("analyze", "confidence", "generate", "learn_weights")),
    "jobs.paraphrase",
    "report.results_page.job",
)


@pytest.mark.model
@pytest.mark.parametrize("name", JOBS)
def test_the_example_of_a_job_runs_as_it_stands(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(f"self_ensemble.{name}")
    found = doctest.testmod(module, extraglobs={"folder": tmp_path})
    assert found.failed == 0
    assert found.attempted >= 3


@pytest.mark.model
def test_the_example_of_loading_results_runs_as_it_stands(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module("self_ensemble.analysis.load")
    found = doctest.testmod(module, extraglobs={"folder": tmp_path})
    assert (found.failed, found.attempted) == (0, 4)


@pytest.mark.model
@pytest.mark.parametrize(("page", "number"), [("README.md", 1), ("docs/tour.md", 4)])
def test_the_examples_of_a_page_run_and_print_what_they_say(
    page, number, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    # The one for a server is run in tests/serving.
    blocks = [block for block in blocks if "import OpenAI" not in block]
    assert len(blocks) == number
    for block in blocks:
        exec(block, {})
        printed = capsys.readouterr().out
        said = re.findall(r"^print\(.*\)  # (.+)$", block, flags=re.MULTILINE)
        assert said
        shown = printed.splitlines()
        assert said in (shown[: len(said)], shown[-len(said) :])

"""The examples in the jobs' docstrings, which a notebook's user writes first."""

import doctest
from importlib import import_module

import pytest

JOBS = ("analyze", "confidence", "generate", "learn_weights", "paraphrase")


@pytest.mark.model
@pytest.mark.parametrize("name", JOBS)
def test_the_example_of_a_job_runs_as_it_stands(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(f"self_ensemble.jobs.{name}")
    found = doctest.testmod(module, extraglobs={"folder": tmp_path})
    assert found.failed == 0
    assert found.attempted >= 3

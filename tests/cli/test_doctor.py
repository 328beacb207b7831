"""`self-ensemble doctor` names what works, what does not, and the remedy."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from self_ensemble.cli.doctor import (
    Finding,
    doctor,
    flex_finding,
    model_finding,
    output_finding,
    package_findings,
)
from self_ensemble.errors import UserError
from self_ensemble.oracle import self_check
from self_ensemble.oracle.self_check import Difference

app = typer.Typer()
app.command()(doctor)
CPU = torch.device("cpu")
HUB_ID = "someone/some-model"


def run(*arguments: object, exit_code: int = 0) -> list[str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.stdout.splitlines()


@pytest.fixture
def model(tiny_folder) -> Path:
    return tiny_folder


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """The snapshot folder of HUB_ID in an empty hub cache; put files there to have it cached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    repo = tmp_path / "models--someone--some-model"
    snapshot = repo / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    return snapshot


# torch's compiler imports a module of torch that is written in a deprecated way.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_on_a_machine_in_order_every_line_is_ok_and_flex_agrees_with_sdpa(model, tmp_path):
    lines = run("--model", model, "--device", "cpu", "--output-dir", tmp_path)
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1] == "Ready."
    text = "\n".join(lines)
    assert f"Python {platform.python_version()}" in text
    assert f"torch {version('torch')}" in text
    assert "FlexAttention compiles and agrees with sdpa" in text
    assert str(model) in text


def test_what_was_not_tried_is_a_warning_and_no_failure(model, tmp_path):
    lines = run("--model", model, "--device", "cpu", "--output-dir", tmp_path, "--skip-flex")
    assert [line[:4] for line in lines].count("warn") == 1
    assert lines[-1] == "Ready, with the limits marked warn."


def test_all_failures_are_found_in_one_go_and_the_exit_code_is_1(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    lines = run(
        "--model", tmp_path / "absent.gguf", "--output-dir", blocked / "results",
        "--device", "cuda:99", exit_code=1,
    )  # fmt: skip
    failed = "\n".join(line for line in lines if line.startswith("fail"))
    assert "No model at" in failed
    assert "is not a folder" in failed
    assert "'cuda:99'" in failed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attention", "flax"], "Did you mean 'flex'"),
        (["--attention", "flex", "--skip-flex"], "Drop one"),
    ],
)
def test_contradicting_options_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_a_line_holds_level_text_and_remedy():
    assert str(Finding("warn", "No power.", "Plug it in.")) == "warn No power. Plug it in."
    assert str(Finding("ok", "Power.")) == "ok   Power."


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        ("torch>=99", f"torch {version('torch')}, needed: >=99."),
        ("no-such-package>=2", "no-such-package is missing, needed: >=2."),
        ("no-such-package", "no-such-package is missing, needed: any."),
    ],
)
def test_an_unmet_requirement_fails_with_the_command_that_meets_it(requirement, text):
    versions, unmet = package_findings([requirement])
    assert versions.level == "ok"
    assert unmet == Finding("fail", text, f'Run: pip install "{requirement}"')


@pytest.mark.parametrize(
    "requirement",
    ["torch>=2", "no-such-package; extra == 'more'", "no-such-package; python_version < '3'"],
)
def test_a_requirement_that_is_met_or_does_not_apply_is_no_line(requirement):
    assert len(list(package_findings([requirement]))) == 1


@pytest.mark.parametrize(("is_wanted", "level"), [(True, "fail"), (False, "warn")])
def test_flex_that_does_not_compile_fails_only_where_it_is_wanted(monkeypatch, is_wanted, level):
    def refuse(device):
        raise UserError("FlexAttention does not compile here (no compiler). Use sdpa.", "SE-0403")

    monkeypatch.setattr(self_check, "flex_agreement", refuse)
    finding = flex_finding(CPU, is_wanted=is_wanted)
    assert finding.level == level
    assert "no compiler" in str(finding)


@pytest.mark.parametrize("relative", [0.1, float("nan")])
def test_flex_that_computes_something_else_always_fails(monkeypatch, relative):
    wrong = Difference("flex", 1, 0.5, relative, 0.001)
    monkeypatch.setattr(self_check, "flex_agreement", lambda device: wrong)
    finding = flex_finding(CPU, is_wanted=False)
    assert finding.level == "fail"
    assert "does not agree" in finding.text
    assert "--attention sdpa" in finding.remedy


def test_a_folder_is_found_with_its_size(model):
    finding = model_finding(str(model), None)
    assert finding.level == "ok"
    assert "folder" in finding.text


def test_a_folder_that_lacks_one_of_its_weight_files_fails(model, tmp_path):
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    finding = model_finding(str(tmp_path), None)
    assert finding.level == "fail"
    assert "1 weight files are missing" in finding.text


def test_a_model_of_the_hub_that_is_not_cached_is_a_warning_with_the_download(hub_cache):
    finding = model_finding(HUB_ID, None)
    assert finding.level == "warn"
    assert f"hf download {HUB_ID}" in finding.remedy


def test_a_model_that_is_not_cached_fails_where_the_hub_is_forbidden(hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    finding = model_finding(HUB_ID, None)
    assert finding.level == "fail"
    assert "HF_HUB_OFFLINE" in finding.text


def test_a_cached_model_of_the_hub_is_found(hub_cache, model):
    for path in model.iterdir():
        (hub_cache / path.name).write_bytes(path.read_bytes())
    finding = model_finding(HUB_ID, None)
    assert finding.level == "ok", finding
    assert str(hub_cache) in finding.text


def test_a_half_downloaded_model_of_the_hub_is_a_warning(hub_cache, model):
    for path in model.iterdir():
        (hub_cache / path.name).write_bytes(path.read_bytes())
    (hub_cache / "model.safetensors.index.json").write_text("{")
    finding = model_finding(HUB_ID, None)
    assert finding.level == "warn"
    assert "The next run downloads them." in finding.remedy


@pytest.mark.parametrize("name", ["no_such_alias", "some one/model", "/no/such/folder"])
def test_a_name_that_means_no_model_fails(name, hub_cache):
    assert model_finding(name, None).level == "fail"


def test_looking_for_a_place_for_results_leaves_nothing_behind(tmp_path):
    assert output_finding(tmp_path / "a" / "b").level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_results_folder_that_is_relative_is_looked_for_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output_finding(Path("results")).level == "ok"
    (tmp_path / "results").write_text("")
    assert "not a folder" in output_finding(Path("results") / "demo").text


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_fails(tmp_path):
    tmp_path.chmod(0o500)
    assert output_finding(tmp_path / "results").level == "fail"
    tmp_path.chmod(0o700)


def test_the_command_is_mounted_without_importing_torch():
    # It takes seconds, which `--help` must not wait for.
    code = "import sys; import self_ensemble.cli.doctor; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

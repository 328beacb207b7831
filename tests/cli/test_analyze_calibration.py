"""`self-ensemble analyze --calibration` as a user runs it."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from self_ensemble.cli.analyze import analyze
from self_ensemble.errors import UserError

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from calibration_files import confidence_file, likelihood_file

app = typer.Typer()
app.command()(analyze)

ONE = ("--dataset", "webqa", "--model", "tiny", "--calibration", "--output-dir")


def result_of(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result


def run(*arguments: object) -> str:
    return result_of(*arguments).stdout


@pytest.fixture
def results(tmp_path) -> Path:
    """One data set, one model, two estimators, two result files and runs that have not ended."""
    folder = tmp_path / "results" / "webqa" / "tiny"
    values = list(np.linspace(0.02, 0.98, 40))
    confidence_file(folder / "confidence.feather", "0001011011" * 4, values)
    confidence_file(folder / "confidence-p_true.feather", "1" * 39 + "x", values)
    likelihood_file(folder / "flex_attention-5.feather", "01_1011x11" * 4, values)
    likelihood_file(folder / "diversity" / "flex_attention-0,2,4.feather", "01" * 20, values)
    (folder / "confidence-margin.run").mkdir()
    return tmp_path / "results"


def test_table_has_a_line_for_every_estimator_and_file_and_says_which_way_is_good(results):
    output = run(*ONE, results)
    for start in (
        r"sampling +40 +0 +50\.0 +50\.0 ",
        r"p_true +39 +1 +100\.0 .* - ",
        r"flex_attention-5 +32 +8 ",
        r"diversity/flex_attention-0,2,4 +40 +0 ",
    ):
        assert re.search(rf"^ *{start}", output, re.MULTILINE), start
    words = " ".join(output.split())
    assert len(re.findall(r"(Lower|Higher) is better", words)) == 5
    assert "webqa/tiny/confidence-margin is not finished" in words


@pytest.mark.parametrize("width", ["100", "120"])
def test_no_number_is_broken_over_two_lines(results, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = re.sub(r"\x1b\[[0-9;]*m", "", run(*ONE, results))
    table = output[: output.index("Answers:")].splitlines()
    assert max(map(len, table)) <= int(width)
    assert all(line.count("[") == line.count("]") for line in table)
    assert "\u2026" not in output


def test_csv_markdown_and_json_carry_the_same_numbers(results, tmp_path):
    csv_file, markdown_file = tmp_path / "t.csv", tmp_path / "t.md"
    document = json.loads(
        run(*ONE, results, "--csv", csv_file, "--markdown", markdown_file, "--json")
    )
    with csv_file.open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    markdown = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown_file.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    shown = [cells for cells in markdown if cells[1].isdigit()]
    assert len(from_csv) == len(document["files"]) == len(shown) == 4
    for row, found, cells in zip(from_csv, document["files"], shown, strict=True):
        bins = found.pop("bins")
        assert row == {key: "" if value is None else str(value) for key, value in found.items()}
        assert cells[0] == (found["estimator"] or found["file"])
        assert cells[1:3] == [row["answers"], row["left_out"]]
        percent = [f"{100 * found[key]:.1f}" for key in ("accuracy", "mean_confidence", "ece")]
        assert cells[3:6] == percent
        auroc = [found[key] for key in ("auroc", "auroc_low", "auroc_high")]
        decimals = [
            f"{value:.3f}"
            for value in (found["brier"], *auroc, found["aurc"])
            if value is not None
        ]
        assert re.findall(r"\d\.\d{3}", " ".join(cells[6:9])) == decimals
        assert cells[9] == f"{100 * found['accuracy_at_50']:.1f}"
        assert sum(part["answers"] for part in bins) == found["answers"]
        gaps = [
            part["answers"] * abs(part["accuracy"] - part["mean_confidence"])
            for part in bins
            if part["answers"]
        ]
        assert sum(gaps) / found["answers"] == pytest.approx(found["ece"])


def test_plot_lies_in_the_results_folder_unless_it_is_named(results, tmp_path):
    default = results / "webqa" / "tiny" / "calibration.png"
    assert f"Plot: {default}" in run(*ONE, results)
    assert default.read_bytes().startswith(b"\x89PNG")
    default.unlink()
    named = tmp_path / "mine.png"
    assert f"Plot: {named}" in run(*ONE, results, "--plot", named)
    assert named.is_file()
    assert not default.exists()


def test_every_folder_gets_its_plot(results):
    likelihood_file(results / "trivia" / "tiny" / "origin.feather", "10", [0.9, 0.2])
    output = run("--compare-all", "--calibration", "--output-dir", results)
    assert output.count("Plot: ") == 2
    assert (results / "trivia" / "tiny" / "calibration.png").is_file()
    with pytest.raises(UserError, match="is one file, but there are results of 2 data sets"):
        run("--compare-all", "--calibration", "--output-dir", results, "--plot", "a.png")


def test_json_is_alone_on_standard_output(results):
    result = result_of(*ONE, results, "--json")
    json.loads(result.stdout)
    assert "Plot: " in result.stderr


def test_number_of_bins_reaches_the_table(results):
    document = json.loads(run(*ONE, results, "--json", "--num-bins", 4))
    assert document["num_bins"] == 4
    assert {len(row["bins"]) for row in document["files"]} == {4}
    assert "4 bins" in run(*ONE, results, "--num-bins", 4)


def test_without_matplotlib_the_table_is_printed_and_a_plot_asked_for_is_refused(
    results, monkeypatch
):
    # How Python marks a module that must not be imported.
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "self_ensemble.report.reliability_plot", raising=False)
    output = run(*ONE, results)
    assert "sampling" in output
    assert output.splitlines()[-1] == (
        'No plot: it needs matplotlib. Run: pip install "self-ensemble[plots]"'
    )
    with pytest.raises(UserError, match=r"--plot needs matplotlib.*self-ensemble\[plots\]"):
        run(*ONE, results, "--plot", "a.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--calibration", "--baseline", "origin"), "--calibration compares with no --baseline"),
        (("--num-bins", "5"), "--num-bins is an option of --calibration"),
        (("--calibration", "--num-bins", "0"), "Got 0 bins. Give 1 or more"),
        (("--calibration", "--plot", "a.pdf"), "--plot a.pdf is no PNG"),
        (("--calibration", "--plot", "/no/such/a.png"), "Cannot write /no/such/a.png"),
        (("--calibration", "--confidence", "95"), "Got confidence 95.0. Give a number between"),
        (("--calibration", "--csv", "/no/such/t.csv"), "Cannot write /no/such/t.csv"),
    ],
)
def test_bad_option_is_one_line_that_says_what_to_do(results, options, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        run("--compare-all", *options, "--output-dir", results)
    assert "\n" not in str(caught.value)


def test_folder_without_files_says_what_to_run(tmp_path):
    (tmp_path / "webqa" / "tiny").mkdir(parents=True)
    with pytest.raises(UserError, match="Run `self-ensemble confidence` or `self-ensemble gener"):
        run(*ONE, tmp_path)


def test_importing_the_command_does_not_load_matplotlib():
    code = (
        "import sys, self_ensemble.cli.analyze;"
        "sys.exit(bool({'scipy', 'pyarrow', 'matplotlib', 'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""`self-ensemble report`: where the page goes, what is refused, what it costs, its commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from self_ensemble import results
from self_ensemble.cli.main import main
from self_ensemble.errors import UserError
from self_ensemble.report.results_page.job import write_report
from self_ensemble.report.results_page.repeat_command import repeat_commands
from tests.cli.commands import arguments
from tests.report.report_folders import city_folder, fused_rows

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import write_file


@pytest.fixture
def output(tmp_path) -> Path:
    city_folder(tmp_path / "results" / "cities" / "tiny")
    return tmp_path / "results"


def run(output: Path, page: Path, *more: str) -> int:
    return main(["report", "--output-dir", str(output), "--output", str(page), *more])


ONE = ("--dataset", "cities", "--model", "tiny")


def test_a_page_is_written_and_its_place_printed(output, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert run(output, page, *ONE) == 0
    assert capsys.readouterr().out == f"Report: {page}\n"
    assert "<title>Report: cities / tiny</title>" in page.read_text("utf-8")


def test_all_folders_are_one_page(output, tmp_path):
    city_folder(output / "rivers" / "tiny")
    page = tmp_path / "all.html"
    assert run(output, page, "--compare-all") == 0
    assert "Report of 2 data sets and models" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "Give both --dataset and --model, or --compare-all"),
        (("--dataset", "citie", "--model", "tiny"), "Unknown dataset 'citie'. Did you mean 'cit"),
        ((*ONE, "--baseline", "vote3"), "Unknown baseline 'vote3'. Did you mean 'vote-3'?"),
        ((*ONE, "--confidence", "2"), "Got confidence 2.0."),
        ((*ONE, "--output", "page.txt"), "--output page.txt does not end in .html."),
        ((*ONE, "--output", "/no/such/page.html"), "There is no folder /no/such for --output"),
        ((*ONE, "--output-dir", "/no/such"), "There is no results folder /no/such."),
    ],
)
def test_what_cannot_be_is_one_line(output, tmp_path, capsys, more, message):
    assert run(output, tmp_path / "report.html", *more) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"Error: {message}")
    assert told.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_a_folder_without_results_is_one_line(tmp_path, capsys):
    (tmp_path / "results" / "cities" / "tiny").mkdir(parents=True)
    assert run(tmp_path / "results", tmp_path / "report.html", *ONE) == 2
    assert "There is no finished result file in" in capsys.readouterr().err


def test_a_run_that_is_not_finished_is_told(output, tmp_path):
    (output / "cities" / "tiny" / "max-3.run").mkdir()
    (output / "rivers" / "tiny" / "origin.run").mkdir(parents=True)
    page = tmp_path / "report.html"
    assert run(output, page, "--compare-all") == 0
    text = page.read_text("utf-8")
    assert "Not finished, so not in the report: max-3." in text
    assert "There is no finished result file. Not finished yet: origin." in text


def test_without_matplotlib_it_says_what_to_install(output, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r'matplotlib.*pip install "self-ensemble\[plots\]"'):
        write_report("cities", "tiny", output_dir=output, output=tmp_path / "report.html")


def test_the_model_and_torch_are_not_needed(output, tmp_path):
    code = (
        "import sys; from self_ensemble.cli.main import main\n"
        f"main(['report', *{[*ONE, '--output-dir', str(output)]!r}, '--output', "
        f"{str(tmp_path / 'report.html')!r}])\n"
        "sys.exit(bool({'torch', 'transformers', 'pandas', 'pyplot'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = (
        "import sys; import self_ensemble.cli.report\n"
        "sys.exit(bool({'scipy', 'pyarrow', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


OPTIONS = [
    ("--method", "flex_attention,avg,vote,per_prompt,origin"),
    ("--method", "flex_attention", "--positions", "contiguous", "--segment-weights", "none"),
    ("--method", "avg,vote", "--indices", "2,0", "--max-samples", "4", "--stop", "\\n",
     "--stop", "Q"),
    ("--method", "contrast,origin", "--contrast-strength", "0.5", "--temperature", "0.7",
     "--top-p", "0.9", "--seed", "3"),
    ("--method", "flex_attention,max", "--chat-template", "on", "--fusion-point", "last_segment",
     "--attention", "eager", "--attribution", "mass"),
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options[1])
def test_the_command_of_the_report_makes_the_same_files_again(
    questions, tiny_folder, tmp_path, capsys, monkeypatch, options
):
    # A manifest names a folder's model by the folder alone.
    monkeypatch.chdir(tiny_folder.parent)
    output = tmp_path / "results"
    assert main(arguments("generate", questions, tiny_folder, output, *options)) in (0, 3)
    folder = output / "bridges" / "tiny"
    before = {path.name: path.read_bytes() for path in folder.rglob("*.feather")}
    # Files that were made with anything else would be refused, and others made.
    capsys.readouterr()
    for command in repeat_commands(results.load(folder).made_with()):
        program, *words = shlex.split(command)
        assert program == "self-ensemble"
        code = main([*words, "--output-dir", str(output), "--batch-size", "3"])
        assert code in (0, 3), capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.rglob("*.feather")} == before


def test_files_of_different_options_have_a_command_each(questions, tiny_folder, tmp_path):
    output = tmp_path / "results"
    runs = (("vote,origin,flex_attention",), ("avg", "--seed", "1"), ("max", "--indices", "2,0"))
    for more in runs:
        assert main(arguments("generate", questions, tiny_folder, output, "--method", *more)) == 0
    found = repeat_commands(results.load(output / "bridges" / "tiny").made_with())
    asked = {re.search(r"--method (\S+)", one)[1]: one for one in found}
    assert set(asked) == {"avg", "flex_attention,origin,vote", "max"}
    assert "--seed 1" in asked["avg"]
    assert "--indices 2,0" in asked["max"]


def test_the_page_has_command_manifest_and_mask(questions, tiny_folder, tmp_path):
    output, page = tmp_path / "results", tmp_path / "report.html"
    more = ("--method", "flex_attention,origin,per_prompt")
    assert main(arguments("generate", questions, tiny_folder, output, *more)) == 0
    assert run(output, page, "--dataset", str(questions), "--model", str(tiny_folder)) == 0
    text = page.read_text("utf-8")
    assert "self-ensemble generate --dataset" in text
    assert "questions_sha256" in text
    assert "The weight of each wording is 0.333." in text
    assert text.count('<polygon class="reads segment"') == 3


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_ten_thousand_questions_of_several_methods_take_ten_seconds_and_a_gigabyte(tmp_path):
    folder = tmp_path / "results" / "cities" / "tiny"
    for name, marks in (
        ("origin", "0101"),
        ("vote-3", "0111"),
        ("avg-3", "01_1"),
        ("max-3", "2101"),
    ):
        rows = [
            {name: row[name] for name in ("uuid", "answers", "prediction", "seconds", "error",
                                          "paraphrases", "mean_logprob", "num_tokens")}
            | {"mean_logprob": -(i % 9973) / 5000, "seconds": i / 10_000}
            for i, row in enumerate(fused_rows(marks * 2_500))
        ]  # fmt: skip
        write_file(folder / f"{name}.feather", rows)
    page = tmp_path / "report.html"
    code = (
        "import re, time\n"
        "from pathlib import Path\n"
        "from self_ensemble.cli.main import main\n"
        f"assert main(['report', *{ONE!r}, '--output-dir', {str(tmp_path / 'results')!r}, "
        f"'--output', {str(page)!r}]) == 0\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(time.process_time(), re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seconds, kilobytes = done.stdout.splitlines()[-1].split()
    assert float(seconds) < 10
    assert int(kilobytes) < 1_000_000
    assert page.stat().st_size < 5_000_000

"""`self-ensemble analyze` as a user runs it."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from tests.cli.analyzing import answers_file, record, run, write_file


@pytest.fixture
def results(tmp_path) -> Path:
    """One data set, one model, five files and a run that has not ended."""
    folder = tmp_path / "results" / "webqa" / "Qwen__Qwen2.5-3B"
    answers_file(folder / "origin.feather", "0101001101" * 4)
    answers_file(folder / "flex_attention-5.feather", "1101_111x1" * 4)
    answers_file(folder / "ensemble_weighted_max-5.feather", "xx" * 20)
    chosen = [record(f"q{i}", "Rome", tokens=20 + i) for i in range(40)]
    write_file(folder / "diversity" / "flex_attention-0,2,4.feather", chosen)
    write_file(
        folder / "per_prompt.feather",
        [
            record(f"q{i}", "Rome" if (i + j) % 3 else "Oslo", paraphrase_index=j)
            for i in range(40)
            for j in range(3)
        ],
    )
    (folder / "vote-5.run").mkdir()
    return tmp_path / "results"


ONE = ("--dataset", "webqa", "--model", "Qwen/Qwen2.5-3B", "--output-dir")


def test_terminal_table_has_a_line_for_every_file_and_names_the_unfinished_run(results):
    output = run(*ONE, results)
    for name in ("origin", "flex_attention-5", "ensemble_weighted_max-5", "per_prompt"):
        assert re.search(rf"^ *{re.escape(name)} +\d+ ", output, re.MULTILINE)
    assert re.search(r"^ *origin +40 +0/0 +50\.0 \[\d\d\.\d, \d\d\.\d\] .* - *$", output, re.M)
    assert re.search(r"^ *flex_attention-5 +36 +4/4 +77\.8 ", output, re.MULTILINE)
    assert "webqa/Qwen__Qwen2.5-3B/vote-5 is not finished" in " ".join(output.split())


@pytest.mark.parametrize("width", ["100", "120"])
def test_no_number_is_broken_over_two_lines(results, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = re.sub(r"\x1b\[[0-9;]*m", "", run(*ONE, results))
    lines = [line for line in output.splitlines() if re.search(r"\d\.\d", line)]
    assert max(map(len, output.splitlines())) <= int(width)
    assert all(line.count("[") == line.count("]") for line in lines)
    assert not any("\u2026" in line for line in lines)


def test_csv_markdown_and_json_carry_the_same_numbers(results, tmp_path):
    csv_file, markdown_file = tmp_path / "t.csv", tmp_path / "t.md"
    document = json.loads(
        run(*ONE, results, "--csv", csv_file, "--markdown", markdown_file, "--json")
    )
    with csv_file.open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_json = [*document["files"], *document["wordings"]]
    markdown = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown_file.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    shown = [cells for cells in markdown if cells[1].isdigit()]
    assert len(from_csv) == len(from_json) == len(shown) == 5 + 3
    for row, record_, cells in zip(from_csv, from_json, shown, strict=True):
        as_text = {key: "" if value is None else str(value) for key, value in record_.items()}
        assert row == as_text
        assert cells[0].split(" #")[0] == row["file"]
        assert cells[1:3] == [row["scored"], f"{row['errors']}/{row['no_answer']}"]
        columns = (
            *("accuracy", "accuracy_low", "accuracy_high", "exact_match", "lenient", "token_f1"),
        )
        numbers = [f"{100 * float(row[key]):.1f}" for key in columns if row[key]]
        assert re.findall(r"\d+\.\d", " ".join(cells[3:7])) == numbers
        known = row["mean_tokens"]
        assert cells[8] == (f"{float(known):.1f}" if known else "-")


def test_denied_answers_and_scripts_without_blanks_are_told(results, tmp_path):
    folder = tmp_path / "other" / "cities" / "tiny"
    texts = ["Not Rome", "It is Roma", "\u6771\u4eac\u90fd\u3067\u3059"]
    kyoto = {"answers": ["Rome", "Roma", "\u4eac\u90fd"]}
    write_file(
        folder / "origin.feather",
        [record(f"q{i}", text, **kyoto) for i, text in enumerate(texts)],
    )
    arguments = ("--dataset", "cities", "--model", "tiny", "--output-dir", tmp_path / "other")
    output = " ".join(run(*arguments).split())
    assert "deny it ('not Paris') count as not correct: origin 1." in output
    assert "1 answers are of a script without blanks" in output
    (row,) = json.loads(run(*arguments, "--json"))["files"]
    assert (row["denied"], row["accuracy"]) == (1, 2 / 3)
    pytest.importorskip("icu4py", reason="the extra words is not installed")
    document = json.loads(run(*arguments, "--json", "--words", "icu"))
    assert document["files"][0]["accuracy"] == 1 / 3
    assert not any("script without blanks" in note for note in document["notes"])


def test_compare_all_shows_every_data_set_and_model_and_filters_narrow_it(results):
    answers_file(results / "webqa" / "tiny" / "origin.feather", "10")
    answers_file(results / "trivia" / "tiny" / "origin.feather", "10")
    (results / "webqa" / "notes.txt").write_text("mine")

    def shown(*options: str) -> set[tuple[str, str]]:
        output = run("--compare-all", "--json", "--output-dir", results, *options)
        return {(row["dataset"], row["model"]) for row in json.loads(output)["files"]}

    assert shown() == {("trivia", "tiny"), ("webqa", "tiny"), ("webqa", "Qwen__Qwen2.5-3B")}
    assert shown("--model", "tiny") == {("trivia", "tiny"), ("webqa", "tiny")}
    assert shown("--dataset", "trivia") == {("trivia", "tiny")}


def test_data_set_and_model_can_be_named_by_their_paths(tmp_path):
    answers_file(tmp_path / "mine" / "m.gguf" / "origin.feather", "1")
    output = run(
        *("--dataset", "data/mine.jsonl", "--model", "/models/m.gguf", "--output-dir", tmp_path),
        "--json",
    )
    assert [row["file"] for row in json.loads(output)["files"]] == ["origin"]


def test_confidence_changes_the_intervals_and_the_header(results):
    assert "[80 %]" in run(*ONE, results, "--confidence", "0.8")

    def width(confidence: str) -> float:
        document = json.loads(run(*ONE, results, "--json", "--confidence", confidence))
        row = next(row for row in document["files"] if row["file"] == "origin")
        return row["accuracy_high"] - row["accuracy_low"]

    assert width("0.8") < width("0.95") < width("0.99")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dataset", "webqa"), "Give both --dataset and --model, or --compare-all"),
        (("--dataset", "weqa", "--model", "x"), "Unknown dataset 'weqa'. Did you mean 'webqa'"),
        (
            ("--dataset", "webqa", "--model", "Qwen/Qwen2.5-7B"),
            "Unknown model 'Qwen__Qwen2.5-7B'. Did you mean 'Qwen__Qwen2.5-3B'",
        ),
        (("--compare-all", "--baseline", "orign"), "Unknown baseline 'orign'. Did you mean 'orig"),
        (("--compare-all", "--lemmatiser", "spcy"), "Unknown lemmatiser 'spcy'. Did you mean"),
        (("--compare-all", "--confidence", "95"), "Got confidence 95.0. Give a number between"),
        (("--compare-all", "--csv", "/no/such/t.csv"), "Cannot write /no/such/t.csv"),
    ],
)
def test_bad_option_is_one_line_that_says_what_to_do(results, options, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        run(*options, "--output-dir", results)
    assert "\n" not in str(caught.value)


def test_missing_results_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"There is no results folder .*nowhere"):
        run("--compare-all", "--output-dir", tmp_path / "nowhere")


def test_folder_with_unfinished_runs_only_names_them(tmp_path):
    (tmp_path / "webqa" / "tiny" / "origin.run").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no finished result file .* Not finished yet: origin\."):
        run("--dataset", "webqa", "--model", "tiny", "--output-dir", tmp_path)


def test_importing_the_command_imports_nothing_heavy():
    code = (
        "import sys, self_ensemble.cli.analyze;"
        "sys.exit(bool({'scipy', 'pyarrow', 'simplemma', 'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""`self-ensemble inspect` as a user runs it."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from self_ensemble import Ensemble, Request, load_model
from self_ensemble.cli.inspect import inspect
from self_ensemble.cli.main import main
from self_ensemble.errors import UserError
from tests.cli.commands import question_rows, write_rows

WORDINGS = ["--text", "What is the capital of France?", "--text", "Name the capital of France."]

app = typer.Typer()
app.command()(inspect)


def run(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.stdout


@pytest.fixture
def asked(questions, tiny_folder) -> list[str]:
    """A question of a file, three wordings, four tokens."""
    return [
        "--dataset", str(questions), "--model", str(tiny_folder), "--num-shots", "2",
        "--num-paraphrases", "3", "--max-new-tokens", "4",
    ]  # fmt: skip


def test_the_command_is_mounted_without_importing_torch() -> None:
    # It takes seconds, which `--help` must not wait for.
    code = "import sys, self_ensemble.cli.inspect; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_row_is_shown_with_its_steps_and_answers(asked) -> None:
    output = run(*asked, "--row", "q5", "--method", "flex_attention,max,vote")
    assert "Who built bridge number 5?" in output
    assert re.search(r"Step 1 of \d+, behind \(nothing\)", output)
    assert "Answers; accepted: Paris" in output
    for name in ("flex_attention", "max", "vote", "wording 3"):
        assert name in output


def test_the_numbers_are_those_of_generate(asked, tmp_path) -> None:
    how = [*asked, "--method", "avg,weighted_max", "--weights", "trust"]
    found = json.loads(run(*how, "--row", "q5", "--json"))
    assert main(["generate", *how, "--output-dir", str(tmp_path), "--batch-size", "1"]) == 0
    for answer in found["methods"]:
        (file,) = tmp_path.rglob(f"ensemble_{answer['method']}-3*.feather")
        table = pd.read_feather(file).set_index("uuid")
        assert [one["token"]["id"] for one in answer["tokens"]] == list(table.token_ids["q5"])
        logprobs = [one["logprob"] for one in answer["tokens"]]
        assert sum(logprobs) / len(logprobs) == pytest.approx(table.mean_logprob["q5"])


def test_how_tokens_are_drawn_is_as_asked(tiny_folder) -> None:
    """A nucleus of one token is greedy at any temperature; a wide one is not."""
    how = ["--model", tiny_folder, *WORDINGS, "--method", "avg", "--max-new-tokens", 6, "--json"]

    def tokens(*options: object) -> list[int]:
        answer = json.loads(run(*how, *options))["methods"][0]
        return [one["token"]["id"] for one in answer["tokens"]]

    assert tokens("--temperature", 9, "--top-p", 1e-9) == tokens()
    first = tokens("--temperature", 9)
    assert first == tokens("--temperature", 9)
    assert first != tokens()
    assert first != tokens("--temperature", 9, "--seed", 1)


def test_texts_are_asked_as_they_are(tiny_folder) -> None:
    found = json.loads(run("--model", tiny_folder, *WORDINGS, "--max-new-tokens", 3, "--json"))
    assert found["wordings"] == WORDINGS[1::2]
    assert found["accepted"] == []
    loaded = load_model(str(tiny_folder))
    answers = Ensemble(loaded, ["flex_attention"]).run([Request("text", tuple(WORDINGS[1::2]))])
    own = [one["token"]["id"] for one in found["methods"][0]["tokens"]]
    assert own == list(answers["flex_attention"][0].token_ids[:3])


def test_json_names_every_field_of_the_trace(tiny_folder) -> None:
    found = json.loads(run("--model", tiny_folder, *WORDINGS, "--max-new-tokens", 2, "--json"))
    step = found["steps"][0]
    assert set(step) == {"answer", "text", "wordings", "methods", "prior", "taken"}
    assert set(step["wordings"][0]) == {"distribution", "ahead"}
    assert set(step["wordings"][0]["distribution"]) == {"top", "entropy", "margin"}
    assert set(step["methods"][0]) == {"method", "distribution", "why", "wording"}
    assert len(step["wordings"][0]["distribution"]["top"]) == 5
    assert [part["kind"] for part in found["parts"]] == ["prefix", "wording", "wording", "cue"][
        -len(found["parts"]) :
    ]


def test_the_page_is_written_and_nothing_else(tiny_folder, tmp_path) -> None:
    page = tmp_path / "trace.html"
    assert run("--model", tiny_folder, *WORDINGS, "--max-new-tokens", 2, "--html", page) == ""
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to look into. Give --dataset NAME --row ID, or --text once per wording."),
        (["--dataset", "demo", "--text", "a"], "Got --dataset and --text. Give"),
        (["--dataset", "demo"], "--dataset needs --row ID: which question."),
        (["--dataset", "demo", "--row", "x"], "demo has no question with the id 'x'. Its first"),
        (["--text", "a", "--row", "x"], "--row goes with --dataset, not with --text. Leave it"),
        (["--text", "a", "--num-shots", "2"], "--num-shots goes with --dataset, not with --text."),
        (["--text", "a", "--step", "--json"], "Got --step and --json. Give one of them."),
        (["--text", "a", "--html", "x.txt"], "--html x.txt does not end in .html."),
        (["--text", "a", "--html", "nowhere/x.html"], "There is no folder nowhere for --html"),
        (["--text", "a", "--step"], "--step needs a terminal."),
        (["--text", "a", "--top", "0"], "Got --top 0. Give 1 or more."),
        (["--text", "a", "--ahead", "-1"], "Got --ahead -1. Give 0 or more."),
        (["--text", "a", "--method", "avgg"], "Did you mean 'avg'?"),
        (["--text", "a", "--method", "weighted_avg"], "needs weights, and none were given."),
    ],
)
def test_what_cannot_be_is_refused(arguments, message) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        run(*arguments)


def test_too_few_wordings_are_refused(tmp_path, tiny_folder) -> None:
    rows = [row | ({"paraphrases": []} if n == 7 else {}) for n, row in enumerate(question_rows())]
    file = write_rows(tmp_path / "few.jsonl", rows)
    with pytest.raises(UserError, match="3 wordings are asked for, the question has 1"):
        run("--dataset", file, "--row", "q7", "--model", tiny_folder, "--num-shots", 2,
            "--num-paraphrases", 3)  # fmt: skip


def test_step_walks_forward_and_back_on_keys(tiny_folder) -> None:
    """In a terminal of its own: the first step, the second, the first again, the end."""
    shown = keyed(
        [sys.executable, "-m", "self_ensemble", "inspect", "--model", str(tiny_folder), *WORDINGS,
         "--max-new-tokens", "2", "--step"],
        [b" ", b"n", b"b", b"q"],
    )  # fmt: skip
    places = re.findall(r"(\d+) of \d+\. Space or right", shown)
    assert places == ["1", "2", "3", "2"]
    assert "Step 1 of" in shown
    assert "Step 2 of" in shown


def test_the_end_of_input_ends_the_steps(tiny_folder) -> None:
    shown = keyed(
        [sys.executable, "-m", "self_ensemble", "inspect", "--model", str(tiny_folder), *WORDINGS,
         "--max-new-tokens", "1", "--step"],
        [b"\x04"],
    )  # fmt: skip
    assert "Traceback" not in shown


def keyed(command: list[str], keys: list[bytes]) -> str:
    """What a command shows in a terminal that gets the next key whenever it waits for one."""
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"},
    )  # fmt: skip
    shown, latest = b"", time.monotonic() + 60

    def read() -> bytes:
        is_ready = select.select([control], [], [], 0.05)[0]
        return os.read(control, 65536) if is_ready else b""

    try:
        for key in keys:
            seen = len(shown)
            # A key pressed before the terminal has left its line mode is thrown away.
            while (
                b"q: end." not in shown[seen:] or termios.tcgetattr(terminal)[3] & termios.ICANON
            ):
                assert time.monotonic() < latest, shown
                shown += read()
            os.write(control, key)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(control)
        os.close(terminal)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))


def test_attribution_is_drawn_and_is_in_the_json(tiny_folder) -> None:
    how = [
        "--model",
        tiny_folder,
        *WORDINGS,
        "--max-new-tokens",
        2,
        "--method",
        "flex_attention,avg",
    ]
    output = run(*how, "--attribution", "mass,leave_one_out")
    for title in ("mass of flex_attention", "leave_one_out of avg"):
        assert f"Attribution: {title}" in output
    found = json.loads(run(*how, "--attribution", "shapley", "--json"))["attributions"]
    assert [(one["kind"], one["method"]) for one in found] == [
        ("shapley", "flex_attention"), ("shapley", "avg"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="--attribution mass is for none of the methods"):
        run("--text", "a", "--method", "vote", "--attribution", "mass")


def test_texts_have_weights_of_their_own(tiny_folder) -> None:
    how = ["--model", tiny_folder, *WORDINGS, "--max-new-tokens", 2, "--json"]
    how += ["--method", "weighted_max,flex_attention", "--weights", "0.2,0.8"]
    found = json.loads(run(*how, "--segment-weights", "1,3"))
    why = [one["why"] for one in found["steps"][0]["methods"]]
    assert why == [
        "wording 2 has the largest weight", "reads every wording, with the weights 0.25, 0.75",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"Got --weights 'a,b'\. Give a number from 0 for each"):
        run("--text", "a", "--text", "b", "--method", "weighted_avg", "--weights", "a,b")
    with pytest.raises(UserError, match=r"3 weights"):
        run(*how[:-1], "0.2,0.8,1")

"""`self-ensemble mask` as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from self_ensemble.cli.mask import mask
from self_ensemble.errors import UserError
from self_ensemble.packing.layout import build_layout
from tests.cli.commands import write_rows

WORDINGS = ["--text", "What is the capital of France?", "--text", "Name the capital of France."]

app = typer.Typer()
app.command()(mask)


def run(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.stdout


@pytest.fixture
def model(tiny_folder) -> Path:
    return tiny_folder


@pytest.fixture
def questions(tmp_path) -> Path:
    """Eight questions in three wordings; with five shots, three are left to be asked."""
    rows = [
        {
            "uuid": f"row-{number}",
            "paraphrases": [f"How long is river {number}?", f"River {number}: how long?", "Long?"],
            "answers": [f"{number} km"],
        }
        for number in range(8)
    ]
    return write_rows(tmp_path / "rivers.jsonl", rows)


def test_lengths_are_drawn_without_a_model():
    output = run("--lengths", "40,38,45", "--prefix", 20, "--generated", 5)
    marks = [line.split()[0] for line in output.splitlines() if line[:1] in "PSECG" and line[:1]]
    assert marks[:9] == ["P0", "S1", "E1", "S2", "E2", "S3", "E3", "C0", "G0"]
    assert "150 tokens in all" in output
    assert "segment 2              60-97       38" in output


def test_the_command_is_mounted_without_importing_torch():
    # It takes seconds, which `--help` must not wait for.
    code = "import sys; from self_ensemble.cli.mask import mask; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_adhoc_wordings_are_drawn_with_their_token_counts(model, tiny_tokenizer):
    output = run("--model", model, *WORDINGS, "--generated", 0)
    for number, text in enumerate(WORDINGS[1::2], start=1):
        count = len(tiny_tokenizer(f"Q: {text}\n").input_ids)
        line = next(line for line in output.splitlines() if line.startswith(f"segment {number}"))
        assert line.split()[3] == str(count)
    assert "generated   " not in output


def test_the_prompt_is_shown_whole(model):
    output = run("--model", model, "--text", "a<|im_end|>", "--text", "b", "--prompt")
    assert "Q: a<|im_end|>\u21b5\n" in output
    assert "Q: b\u21b5\n" in output
    assert "\nA:\n" in output


def test_in_the_chat_template_special_tokens_are_marked_and_text_is_not(model):
    output = run(
        "--model", model, "--text", "a<|im_end|>", "--text", "b", "--prompt", "--chat-template",
        "on",
    )  # fmt: skip
    assert "\na<|im_end|>\n" in output
    assert "\u00ab<|im_end|>\u00bb\u21b5\n\u00ab<|im_start|>\u00bbassistant\u21b5\n" in output


@pytest.mark.parametrize("options", [(), ("--attention", "eager"), ("--positions", "contiguous"),
                                     ("--fusion-point", "last_segment")])  # fmt: skip
def test_isolation_is_proven_on_the_given_model(model, options):
    output = run("--model", model, *WORDINGS, "--check", *options)
    assert "Isolated: no wording reads another." in output
    assert "FAIL" not in output


def test_a_leak_is_found_and_ends_with_exit_code_1(model, monkeypatch):
    from self_ensemble.cli.masks import drawing

    def leaking(parts, **options):
        return build_layout(parts, **{**options, "readable": ((1, 0),)})

    monkeypatch.setattr(drawing, "build_layout", leaking)
    output = run("--model", model, *WORDINGS, "--check", exit_code=1)
    assert output.count("FAIL") == 3
    assert "NOT isolated." in output


def test_a_question_of_a_data_set_is_drawn_behind_its_examples(model, questions):
    output = run(
        "--dataset", questions, "--index", 2, "--model", model, "--num-paraphrases", 3,
        "--num-shots", 2, "--prompt", "--segment-weights", "none",
    )  # fmt: skip
    assert "rivers, question 2 (" in output
    shown = output.split("--- prefix")[1]
    assert shown.count("A: ") == 2
    assert shown.count("River ") == 1
    assert [line.split()[-1] for line in output.splitlines() if line.startswith("segment")] == [
        "1", "1", "1",
    ]  # fmt: skip


def test_other_wordings_can_be_chosen(model, questions):
    output = run(
        "--dataset", questions, "--model", model, "--indices", "2,1", "--num-shots", 0, "--prompt"
    )
    prompt = output.split("--- segment 1")[1]
    assert prompt.index("Long?") < prompt.index("River")
    assert "segment 3" not in output


def test_manual_templates_read_each_other_when_asked_to(model, evaluation_data):
    data = evaluation_data / "myriadlama"
    arguments = ("--dataset", "myriadlama", "--data", data, "--model", model)

    def second_segment_start(output: str) -> str:
        return next(line for line in output.splitlines() if line.startswith("S2 "))

    apart = second_segment_start(run(*arguments))
    reading = second_segment_start(run(*arguments, "--manual-read-each-other"))
    assert reading.count("\u25a0") > apart.count("\u25a0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to draw. Give one of: --dataset"),
        (["--dataset", "demo", "--lengths", "3"], "Got --dataset and --lengths. Give one of"),
        (["--lengths", "40,x"], "Got --lengths '40,x': 'x' is no number of tokens from 1"),
        (["--lengths", "40,,3"], "'' is no number"),
        (["--lengths", "0"], "'0' is no number of tokens from 1"),
        (["--lengths", "-3"], "'-3' is no number"),
        (["--lengths", "3", "--prefix", "-1"], "Got --prefix -1. Give 0 or more"),
        (["--lengths", "3", "--cue", "0"], "Got --cue 0. Give 1 or more"),
        (["--lengths", "3", "--generated", "-1"], "Got --generated -1"),
        (["--lengths", "999999,9"], "more than 1,000,000 tokens"),
        (["--lengths", "3", "--check"], "--check goes with --dataset or --text, not with"),
        (["--lengths", "3", "--index", "0"], "--index goes with --dataset, not with --lengths"),
        (["--text", "a", "--prefix", "3"], "--prefix goes with --lengths, not with --text"),
        (["--text", "a", "--num-paraphrases", "3"], "--num-paraphrases goes with --dataset"),
        (["--text", "a", "--positions", "alined"], "Did you mean 'aligned'"),
        (["--text", "a", "--fusion-point", "que"], "Did you mean 'cue'"),
        (["--text", "a", "--segment-weights", "uniforn"], "Did you mean 'uniform'"),
        (["--text", "a", "--chat-template", "yes"], "Choose from: auto, off, on"),
        (["--dataset", "demo", "--num-paraphrases", "0"], "Got --num-paraphrases 0"),
        (["--dataset", "demo", "--index", "100000"], "Got --index 100000, but demo has"),
        (["--dataset", "demo", "--index", "-1"], "Give a number from 0 to"),
        (["--dataset", "demo", "--num-paraphrases", "7"], "Give at most --num-paraphrases 6"),
        (["--dataset", "demo", "--indices", "0,9"], "Give --indices below 6"),
        (["--dataset", "demmo"], "Did you mean 'demo'"),
        (
            ["--dataset", "myriadlama", "--check", "--manual-read-each-other"],
            "Leave one of them out",
        ),
        (
            ["--dataset", "demo", "--manual-read-each-other"],
            "for MyriadLAMA's own templates; demo has none. Leave it out",
        ),
        (
            ["--dataset", "myriadlama", "--paraphrases", "w.jsonl", "--manual-read-each-other"],
            "for MyriadLAMA's own templates, which --paraphrases replaces. Leave one of them out",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_one_line(arguments, message):
    with pytest.raises(UserError) as caught:
        run(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "a", "--text", " "], "Wording 1 is empty"),
        (["--text", "a", "--check"], "Got 1 wording to check"),
        (["--text", "a", "--text", "b" * 600, "--check"], "positions; the model has 512"),
    ],
)
def test_wordings_that_do_not_suit_the_model_are_refused(model, arguments, message):
    with pytest.raises(UserError, match=message):
        run("--model", model, *arguments)

"""Every mistake a user can make: one clear line, exit code 2, no traceback."""

import json
import shutil
from pathlib import Path

import pytest

from self_ensemble.cli.main import main

CASES = [
    (["--model", "smollm2_135m_tt"], "Did you mean 'smollm2_135m_it'?"),
    (["--dataset", "webqq"], "Did you mean 'webqa'?"),
    (["--dataset", "no_such.jsonl"], "does not exist"),
    (["--method", "flex_atention"], "Did you mean 'flex_attention'?"),
    (["--method", "no_such_module:rule"], "Cannot load the fusion rule"),
    (["--method", "weighted_avg"], "needs weights"),
    (["--method", ","], "No method given"),
    (["--num-paraphrasez", "3"], "--num-paraphrases"),
    (["--num-paraphrases", "0"], "Give 1 or more"),
    (["--num-paraphrases", "9"], "no question of bridges has more than 3"),
    (["--num-paraphrases", "three"], "--num-paraphrases"),
    (["--max-new-tokens", "0"], "Give 1 or more"),
    (["--max-samples", "0"], "--max-samples"),
    (["--indices", "0,x"], "Give different numbers from 0"),
    (["--indices", "0,0"], "Give different numbers from 0"),
    (["--indices", "0,7"], "no question of bridges has more than 3"),
    (["--indices", "0,1", "--method", "origin,avg"], "takes no --indices"),
    (["--batch-size", "many"], "Give auto or a number"),
    (["--temperature", "-1"], "temperature"),
    (["--top-p", "0"], "top-p"),
    (["--attention", "flash"], "Unknown attention backend 'flash'"),
    (["--positions", "aligend"], "Did you mean 'aligned'?"),
    (["--fusion-point", "last"], "Unknown fusion point"),
    (["--device", "cuda:9"], "cuda:9"),
    (["--dtype", "float12"], "float12"),
    (["--weights", "confidense", "--method", "weighted_avg"], "Did you mean 'confidence'?"),
    (["--segment-weights", "unifrom"], "unifrom"),
    (["--num-shots", "50"], "--num-shots"),
    (["--chat-template", "maybe"], "Unknown chat template setting"),
    (["--indices", "0,1", "--method", "origin"], "takes no --indices"),
    (["--method", "avg", "--positions", "contiguous"], "--positions is for flex_attention"),
    (["--method", "avg", "--segment-weights", "none"], "--segment-weights is for flex"),
    (["--weights", "confidence"], "--weights is for weighted methods"),
    (["--top-p", "0.9"], "--top-p needs sampling"),
    (["--num-paraphrases", "99999999"], "Give 1,000,000 or less"),
    (["--num-paraphrases", "999999"], "no question of bridges has more than 3"),
    (["--num-paraphrases", "9" * 30], "Give 1,000,000 or less"),
    (["--batch-size", "9" * 5000], "Give auto or a number from 1 to 1,000,000"),
    (["--indices", "9" * 5000], "Give different numbers from 0"),
    (["--max-new-tokens", "99999999"], "Give 1,000,000 or less"),
    (["--temperature", "1e-320"], "Give 0 for greedy answers, or 1e-06 or more"),
    (["--aliases", "/dev/zero"], "a device, a pipe or a socket"),
    (["--dataset", "/dev/zero"], "a device, a pipe or a socket"),
    (["--paraphrases", "/dev/zero"], "a device, a pipe or a socket"),
    (["--dataset", "x" * 5000 + ".jsonl"], "File name too long"),
    (["--model", "x" * 5000], "File name too long"),
    (["--output-dir", "/proc/self/x"], "Cannot write /proc/self/x"),
    (["--method", "json." + "d" * 250 + ":dumps"], "Cannot load the fusion rule"),
    (["--method", "json:dumps"], "does not take (logits, weights)"),
]


@pytest.mark.parametrize(("options", "message"), CASES, ids=lambda value: " ".join(value)
                         if isinstance(value, list) else "")  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_remedy(
    questions, tiny_folder, tmp_path, capsys, options, message
) -> None:
    base = {"--dataset": str(questions), "--model": str(tiny_folder), "--num-shots": "2",
            "--num-paraphrases": "3", "--output-dir": str(tmp_path / "out")}  # fmt: skip
    given = dict(zip(options[::2], options[1::2], strict=True))
    command = [part for pair in (base | given).items() for part in pair]
    assert main(["generate", *command]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").rglob("*.feather"))


@pytest.mark.parametrize("name", ["...jsonl", "\u202e.jsonl"])
@pytest.mark.parametrize("command", ["generate", "confidence", "learn-weights"])
def test_no_result_lies_outside_its_folder(
    questions, tiny_folder, tmp_path, monkeypatch, command, name
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / name
    shutil.copy(questions, own)
    before = set(tmp_path.iterdir())
    code = main([command, "--dataset", str(own), "--model", str(tiny_folder), "--num-shots", "2",
                 "--num-paraphrases", "3", "--output-dir", "deep/out"])  # fmt: skip
    assert code == (2 if name == "...jsonl" else 0)
    assert set(tmp_path.iterdir()) <= {*before, tmp_path / "deep"}
    assert {path.name for path in (tmp_path / "deep").glob("*")} <= {"out"}


def test_an_alias_cannot_lead_out_of_the_results(questions, tiny_folder, tmp_path, capsys) -> None:
    aliases = tmp_path / "aliases.toml"
    aliases.write_text(f"[aliases]\n{'m' * 300} = '{tiny_folder}'\n")
    command = ["generate", "--dataset", str(questions), "--aliases", str(aliases), "--model",
               "m" * 300, "--num-shots", "2", "--num-paraphrases", "3"]  # fmt: skip
    assert main([*command, "--output-dir", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["a=" + "[" * 9999, "a=" + "1" * 9999, "a." * 90_000 + "b=1"])
def test_an_aliases_file_that_no_parser_can_bear_is_one_line(tmp_path, capsys, text) -> None:
    aliases = tmp_path / "aliases.toml"
    aliases.write_text(f"[aliases]\n{text}")
    assert main(["generate", "--dataset", "demo", "--aliases", str(aliases)]) == 2
    error = capsys.readouterr().err
    assert str(aliases) in error
    assert error.count("\n") == 1


def test_templates_that_other_wordings_replace_cannot_be_told_to_read_each_other(
    questions, tmp_path, capsys
) -> None:
    # The model does not exist either: were it looked for first, the message would name it.
    command = ["generate", "--dataset", "myriadlama", "--data", str(tmp_path), "--model",
               "owner/none", "--output-dir", str(tmp_path / "out")]  # fmt: skip
    both = ["--manual-read-each-other", "--paraphrases", str(questions)]
    assert main([*command, *both]) == 2
    error = capsys.readouterr().err
    assert "own templates, which --paraphrases replaces. Leave one of them out." in error
    assert error.count("\n") == 1
    for one in (both[:1], both[1:]):
        assert main([*command, *one]) == 2
        assert str(tmp_path) in capsys.readouterr().err, "the data was not looked for"


def test_wordings_that_are_no_templates_cannot_be_told_to_read_each_other(
    questions, capsys
) -> None:
    command = ["generate", "--dataset", str(questions), "--model", "owner/none"]
    assert main([*command, "--manual-read-each-other"]) == 2
    error = capsys.readouterr().err
    assert f"for MyriadLAMA's own templates; {questions} has none. Leave it out." in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "has no list of weights for row 'q3'"),
        ([0.1, 0.2], "has 2 weights for row 'q3'"),
        ([0.1, -0.2, 0.3], "for row 'q3'"),
        ([0.1, float("nan"), 0.3], "for row 'q3'"),
    ],
)
def test_a_weights_file_that_does_not_fit_names_the_row(
    questions, tiny_folder, tmp_path, capsys, value, message
) -> None:
    weights = {f"q{n}": [0.5, 0.3, 0.2] for n in range(10)} | {"q3": value}
    path = tmp_path / "weights.json"
    rows = [{"uuid": uuid, "weights": row} for uuid, row in weights.items()]
    path.write_text(json.dumps(rows))
    command = ["generate", "--dataset", str(questions), "--model", str(tiny_folder),
               "--num-shots", "0", "--num-paraphrases", "3", "--method", "weighted_avg",
               "--weights", str(path), "--output-dir", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_an_unwritable_folder_is_reported_before_the_model_is_loaded(
    questions, tmp_path, capsys
) -> None:
    (tmp_path / "out").write_text("a file in the way")
    # The model does not exist either: were it looked for first, the message would name it.
    command = ["generate", "--dataset", str(questions), "--model", "owner/none",
               "--num-shots", "2", "--num-paraphrases", "3",
               "--output-dir", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 2
    assert str(tmp_path / "out") in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["tokenizer", "weights"])
def test_an_incomplete_model_folder_is_refused(
    questions, tiny_folder: Path, tmp_path, capsys, missing
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder, folder)
    if missing == "tokenizer":
        for file in folder.glob("*token*"):
            file.unlink()
    else:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    command = ["generate", "--dataset", str(questions), "--model", str(folder), "--num-shots",
               "2", "--num-paraphrases", "3", "--output-dir", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "tokenizer" in error if missing == "tokenizer" else "safetensors" in error
    assert error.count("\n") == 1


def test_special_token_text_in_a_question_stays_text(tiny_folder, tmp_path) -> None:
    from self_ensemble.models.load import load_model
    from self_ensemble.prompts.build import plain_frame
    from self_ensemble.questions.schema import Framing

    tokenizer = load_model(str(tiny_folder)).tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    frame = plain_frame(tokenizer, "", (), Framing())
    ids = frame.parts(["what does <|im_end|> mean?"]).alone(0)
    assert end not in ids
    assert tokenizer.decode(list(ids)) == "Q: what does <|im_end|> mean?\nA:"

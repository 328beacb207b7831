"""Commands on a model whose numbers are not finite, for one question or for all."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from self_ensemble.cli.main import main
from tests.cli.commands import arguments, question_rows, result, result_path, write_rows

METHODS = "flex_attention,avg,vote,per_prompt,origin"
BAD = "q5"


@pytest.fixture(scope="module")
def nan_folder(tmp_path_factory, tiny_folder) -> Path:
    """A model one of whose weights is nan."""
    return _folder(tmp_path_factory, tiny_folder, "model.layers.1.mlp.up_proj.weight", 0)


@pytest.fixture(scope="module")
def spotted_folder(tmp_path_factory, tiny_folder) -> Path:
    """A model that has nan for the token `Z`, which no other question and no answer has."""
    token = AutoTokenizer.from_pretrained(tiny_folder).convert_tokens_to_ids("Z")
    return _folder(tmp_path_factory, tiny_folder, "model.embed_tokens.weight", token)


def _folder(tmp_path_factory, tiny_folder: Path, name: str, row: int) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    model.get_parameter(name).data[row] = math.nan
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    return folder


@pytest.fixture
def spotted(tmp_path) -> Path:
    """Ten questions; one wording of one has a `Z`."""
    rows = question_rows()
    rows[5]["paraphrases"][1] = "Name the builder of bridge Z?"
    return write_rows(tmp_path / "bridges.jsonl", rows)


def one_line(capsys) -> str:
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert "Traceback" not in error
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("decode", ["tree", "captured"])
def test_one_question_that_is_not_finite_is_an_error_row(
    spotted, spotted_folder, tiny_folder, tmp_path, decode
) -> None:
    options = ["--method", METHODS, "--num-shots", "0", "--decode", decode]
    ours, whole = tmp_path / "ours", tmp_path / "whole"
    assert main(arguments("generate", spotted, spotted_folder, ours, *options)) == 3
    assert main(arguments("generate", spotted, tiny_folder, whole, *options)) == 0
    for name in ("flex_attention-3", "ensemble_avg-3", "vote-3", "origin", "per_prompt"):
        found, expected = result(ours, name), result(whole, name)
        assert list(found["uuid"]) == list(expected["uuid"])
        bad = (found["uuid"] == BAD) & (name != "origin")
        if name == "per_prompt":
            bad &= found["paraphrase_index"] == 2
        assert found["error"].notna().equals(bad)
        assert found.loc[bad, "error"].str.contains("wording 3").all()
        assert found.loc[bad, "prediction"].isna().all()
        assert (found.loc[bad, "stop_reason"] == "error").all()
        columns = ["generation", "stop_reason", "num_tokens"]
        assert found.loc[~bad, columns].equals(expected.loc[~bad, columns])


@pytest.mark.parametrize("decode", ["tree", "captured"])
def test_a_model_that_gives_nan_ends_the_run_with_one_line(
    questions, nan_folder, tmp_path, capsys, decode
) -> None:
    options = ["--method", METHODS, "--decode", decode]
    assert main(arguments("generate", questions, nan_folder, tmp_path, *options)) == 2
    error = one_line(capsys)
    assert "every prompt" in error
    assert "--dtype float32" in error
    assert not list(tmp_path.rglob("*-3.feather"))
    assert not list(tmp_path.rglob("shard-*.feather"))


@pytest.mark.parametrize("command", ["confidence", "learn-weights"])
def test_other_commands_end_with_one_line_too(
    command, questions, nan_folder, tmp_path, capsys
) -> None:
    given = arguments(command, questions, nan_folder, tmp_path)
    cut = given.index("--max-new-tokens")
    if command == "learn-weights":
        del given[cut : cut + 2]
    assert main(given) == 2
    assert "nan or infinity" in one_line(capsys)
    assert not list(tmp_path.rglob("confidence*.feather"))
    assert not list(tmp_path.rglob("learned_weights.json"))


def test_confidences_of_a_wording_that_is_not_finite_are_no_numbers(
    spotted, spotted_folder, tiny_folder, tmp_path
) -> None:
    options = ["--estimator", "logprob,margin,entropy,agreement", "--num-shots", "0"]
    ours, whole = tmp_path / "ours", tmp_path / "whole"
    assert main(arguments("confidence", spotted, spotted_folder, ours, *options)) == 3
    assert main(arguments("confidence", spotted, tiny_folder, whole, *options)) == 0
    for name in ("logprob", "margin", "entropy", "agreement"):
        found, expected = (
            pd.read_feather(result_path(folder, f"confidence-{name}")) for folder in (ours, whole)
        )
        bad = found["uuid"] == BAD
        if name != "agreement":
            bad &= found["paraphrase_index"] == 2
        assert found["error"].notna().equals(bad)
        assert found.loc[bad, "confidence"].isna().all()
        assert found.loc[~bad, "confidence"].tolist() == pytest.approx(
            expected.loc[~bad, "confidence"].tolist(), abs=1e-5
        )


def test_a_question_that_is_not_finite_is_left_out_of_what_is_learned(
    spotted, spotted_folder, tmp_path, capsys
) -> None:
    given = arguments("learn-weights", spotted, spotted_folder, tmp_path, "--num-shots", "0")
    cut = given.index("--max-new-tokens")
    del given[cut : cut + 2]
    assert main([*given, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["questions"], report["left_out"]) == (9, 1)


RULES = """
import sys, torch
calls = []

def mean(logits, weights):
    return logits.mean(dim=-2)

def later(logits, weights):
    calls.append(0)
    return mean(logits, weights) if len(calls) < 3 else 1 / 0

def exits(logits, weights):
    sys.exit(0)

def infinite(logits, weights):
    return mean(logits, weights) + float("inf")
"""


@pytest.fixture
def my_rules(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_rules.py").write_text(RULES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_rules", raising=False)


def test_a_rule_that_raises_keeps_what_is_done(
    questions, tiny_folder, tmp_path, my_rules, capsys
) -> None:
    given = arguments("generate", questions, tiny_folder, tmp_path,
                      "--method", "my_rules:later", "--max-new-tokens", "1")  # fmt: skip
    assert main(given) == 2
    error = one_line(capsys)
    assert "Rule 'my_rules:later' (my_rules.py, line 10) raised ZeroDivisionError" in error
    assert "(batch of questions q7 .. q8)" in error
    assert len(list(tmp_path.rglob("shard-*.feather"))) == 2
    # The same rule again, which counts anew: only the last batch is left to be asked.
    __import__("my_rules").calls.clear()
    assert main(given) == 0
    assert len(result(tmp_path, "ensemble_my_rules.later-3")) == 8


def test_a_rule_that_exits_does_not_end_with_code_zero(
    questions, tiny_folder, tmp_path, my_rules, capsys
) -> None:
    given = arguments("generate", questions, tiny_folder, tmp_path, "--method", "my_rules:exits")
    assert main(given) == 2
    assert "raised SystemExit: 0" in one_line(capsys)


def test_a_rule_that_returns_infinity_ends_the_run_and_other_methods_keep_their_rows(
    questions, tiny_folder, tmp_path, my_rules, capsys
) -> None:
    given = arguments("generate", questions, tiny_folder, tmp_path,
                      "--method", "avg,my_rules:infinite")  # fmt: skip
    assert main(given) == 2
    error = one_line(capsys)
    assert "rule 'my_rules:infinite' makes nan or infinity" in error
    runs = {path.parent.name for path in tmp_path.rglob("shard-*.feather")}
    assert runs == {"ensemble_avg-3.run"}


def test_wordings_are_not_drawn_from_a_model_that_gives_nan(
    long_folder, tmp_path, questions, capsys
) -> None:
    model = AutoModelForCausalLM.from_pretrained(long_folder)
    model.model.norm.weight.data[0] = math.nan
    folder = tmp_path / "models" / "nan"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(long_folder).save_pretrained(folder)
    output = tmp_path / "w.jsonl"
    capsys.readouterr()
    given = ["paraphrase", "--dataset", str(questions), "--model", str(folder), "--num", "2",
             "--max-samples", "2", "--num-shots", "0", "--output", str(output)]  # fmt: skip
    assert main(given) == 2
    assert "nan or infinity" in one_line(capsys)
    assert not output.exists()


def test_mask_check_of_a_model_that_gives_nan_fails(nan_folder, capsys) -> None:
    code = main(["mask", "--model", str(nan_folder), "--check", "--text", "Who built it?",
                 "--text", "It was built by whom?"])  # fmt: skip
    assert code != 0
    assert "nan" in capsys.readouterr().out


def test_log_probabilities_that_are_not_finite_are_error_rows_of_their_question(
    spotted, spotted_folder, nan_folder, tiny_folder, tmp_path, capsys
) -> None:
    options = ["--method", "avg", "--num-shots", "0", "--save-logprobs", "4"]
    command = arguments("generate", spotted, spotted_folder, tmp_path / "spotted", *options)
    assert main(command) == 3
    sound = arguments("generate", spotted, tiny_folder, tmp_path / "sound", *options)
    assert main(sound) == 0
    mine, whole = (
        result(tmp_path / one, "logprobs-3").set_index("uuid") for one in ("spotted", "sound")
    )
    assert set(mine.index[mine["error"].notna()]) == {BAD}
    assert "nan or infinity" in mine.loc[BAD, "error"].iloc[0]
    kept = mine["first_ids"].drop(BAD).map(list)
    assert kept.equals(whole["first_ids"].drop(BAD).map(list))
    capsys.readouterr()
    command = arguments("generate", spotted, nan_folder, tmp_path / "nan", *options)
    assert main(command) == 2
    assert "None of the first" in one_line(capsys)

"""`generate --attribution`: columns that say which wording decided which token."""

import json
import signal
from dataclasses import fields

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather

from self_ensemble.asking.methods import resolve_method
from self_ensemble.asking.request import Request, Settings
from self_ensemble.attribution.kinds import LeaveOneOut, Mass, Shapley, Share
from self_ensemble.cli.main import main
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.jobs.generate_options import GenerateOptions
from self_ensemble.models.load import load_model
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.results.manifest import read_manifest
from self_ensemble.results.schema import ATTRIBUTION, PER_PROMPT_SCHEMA, RESULT_SCHEMA
from self_ensemble.running.answers import AnswerMaker
from self_ensemble.running.attributed import Attributed
from self_ensemble.running.choice import WordingChoice
from self_ensemble.running.making import Order
from tests.cli.commands import arguments, interrupt, result, result_path

METHODS = ["--method", "flex_attention,avg,vote,per_prompt"]
ALL = ["--attribution", "mass,leave_one_out,shapley,share"]
NAMES = {
    "flex_attention": "flex_attention-3", "avg": "ensemble_avg-3", "vote": "vote-3",
    "per_prompt": "per_prompt",
}  # fmt: skip
COLUMNS = {
    "flex_attention": ["mass", "leave_one_out", "shapley"],
    "avg": ["leave_one_out", "shapley", "share"],
    "vote": [],
    "per_prompt": [],
}


def _table(output, method) -> pa.Table:
    return feather.read_table(result_path(output, NAMES[method]))


def _refused(capsys, command) -> str:
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return " ".join(error.split())


@pytest.mark.parametrize("kind", [Mass, LeaveOneOut, Shapley, Share])
def test_columns_hold_what_the_kind_has(kind) -> None:
    names = {field.name for field in fields(kind)}
    left_out = {"method", "token_ids", "tokens", "per_layer", "num_orders"}
    assert {field.name for field in ATTRIBUTION[kind.kind]} == names - left_out


def test_columns_are_what_the_ensemble_attributes(questions, tiny_folder, tmp_path) -> None:
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *METHODS, *ALL)) == 0
    asked = load_questions(str(questions), num_shots=2)
    model = load_model(str(tiny_folder))
    frame = plain_frame(model.tokenizer, asked.instruction, asked.shots, asked.framing)
    settings = Settings(max_new_tokens=4, stop=asked.stop)
    ensemble = Ensemble(model, ["flex_attention", "avg"], frame=frame, settings=settings)
    for method in ensemble.methods:
        rows = _table(tmp_path, method.name).to_pylist()
        for question, row in zip(asked.questions, rows, strict=True):
            request = Request(question.uuid, question.wordings)
            found = ensemble.attribute(request, COLUMNS[method.name], method)
            for kind, one in found.items():
                stored = row[f"attribution_{kind}"]
                assert row["token_ids"] == list(one.token_ids)
                np.testing.assert_allclose(stored["values"], one.values, atol=2e-4)
                np.testing.assert_allclose(stored["total"], one.total, atol=1e-3)
                for name in set(stored) & {"prefix", "full", "empty", "margin"}:
                    np.testing.assert_allclose(stored[name], getattr(one, name), atol=1e-3)
            assert row["attribution_error"] is None


def test_only_what_makes_sense_has_a_column_and_the_rest_is_said(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *METHODS, *ALL)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "No mass for avg: each wording is read by its own stream" in said
    assert "No share for flex_attention: it has one distribution" in said
    assert "No shapley for vote, per_prompt: each wording writes its own answer" in said
    for method, kinds in COLUMNS.items():
        schema = PER_PROMPT_SCHEMA if method == "per_prompt" else RESULT_SCHEMA
        more = [f"attribution_{kind}" for kind in kinds] + ["attribution_error"] * bool(kinds)
        assert _table(tmp_path, method).column_names == schema.names + more
        manifest = read_manifest(result_path(tmp_path, NAMES[method])).fields
        assert manifest.get("attribution") == (kinds or None)
        assert ("shapley_orders" in manifest) == bool(kinds)
    command = ["analyze", "--dataset", "bridges", "--model", "tiny"]
    assert main([*command, "--output-dir", str(tmp_path)]) == 0


def test_answers_and_what_is_not_asked_for_are_as_without_it(
    questions, tiny_folder, tmp_path
) -> None:
    with_it, without = tmp_path / "with", tmp_path / "without"
    assert main(arguments("generate", questions, tiny_folder, with_it, *METHODS, *ALL)) == 0
    assert main(arguments("generate", questions, tiny_folder, without, *METHODS)) == 0
    for method in NAMES:
        plain = _table(without, method).drop_columns(["seconds"])
        assert _table(with_it, method).select(plain.column_names).equals(plain)
        manifest = read_manifest(result_path(without, NAMES[method])).fields
        assert not {"attribution", "shapley_orders"} & manifest.keys()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_goes_on_and_another_choice_is_refused(
    questions, tiny_folder, tmp_path, capsys, number
) -> None:
    options = ["--method", "flex_attention", "--batch-size", "1"]
    command = arguments("generate", questions, tiny_folder, tmp_path / "a", *options)
    interrupt([*command, "--attribution", "shapley,mass"], tmp_path / "a", number)
    message = _refused(capsys, [*command, "--attribution", "mass"])
    assert "attribution was" in message
    assert "Use --overwrite" in message
    assert "attribution was" in _refused(capsys, command)
    # The order in which kinds are named is no choice.
    assert main([*command, "--attribution", "mass,shapley"]) == 0
    whole = arguments("generate", questions, tiny_folder, tmp_path / "b", *options)
    assert main([*whole, "--attribution", "mass,shapley"]) == 0
    tables = [_table(tmp_path / one, "flex_attention").drop_columns("seconds") for one in "ab"]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attribution", "shaply"], "Unknown kind of attribution 'shaply'. Did you mean"),
        (["--attribution", ","], "Got --attribution without a kind"),
        (["--attribution", "share"], "--attribution share is for none of the methods. No share"),
        (
            ["--attribution", "mass", "--method", "avg,max"],
            "No mass for avg, max: each wording is",
        ),
        (["--attribution", "mass", "--method", "vote"], "No mass for vote: each wording writes"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_model_is_loaded(
    questions, tmp_path, capsys, options, message
) -> None:
    command = arguments("generate", questions, "no/such_model", tmp_path, *options)
    assert message in _refused(capsys, command)


def test_wordings_that_read_each_other_cannot_be_left_out() -> None:

    options = GenerateOptions(manual_read_each_other=True, attribution=("leave_one_out",))
    with pytest.raises(UserError, match="others have read them"):
        options.refuse_ignored([resolve_method("flex_attention")])


def test_rows_without_an_answer_have_no_attribution(tiny_folder, tmp_path) -> None:
    rows = [
        {"uuid": f"q{n}", "question": f"Who built bridge {n}?", "answers": ["Paris"],
         "paraphrases": [] if n == 3 else ["Builder?", "By whom?"]}
        for n in range(6)
    ]  # fmt: skip
    path = tmp_path / "bridges.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = arguments("generate", path, tiny_folder, tmp_path, "--method", "avg")
    assert main([*command, "--attribution", "share"]) in (0, 3)
    table = pd.DataFrame(_table(tmp_path, "avg").to_pylist())
    has_error = table["error"].notna()
    assert (table["attribution_share"].isna() == has_error).all()
    assert table["attribution_error"].isna().all()


RULE = """
import torch

def sure(logits, weights):
    best = logits.argmax(dim=-1, keepdim=True)
    return torch.full_like(logits, -torch.inf).scatter(-1, best, 0.0).amax(dim=-2)

def three(logits, weights):
    if logits.shape[-2] != 3:
        raise ValueError("three wordings, please")
    return logits.mean(dim=-2)
"""


def test_what_is_not_finite_is_said_in_its_row_and_the_answer_stays(
    questions, tiny_folder, tmp_path, monkeypatch
) -> None:
    (tmp_path / "sure_rules.py").write_text(RULE)
    monkeypatch.syspath_prepend(tmp_path)
    command = arguments("generate", questions, tiny_folder, tmp_path)
    command += ["--method", "sure_rules:sure", "--attribution", "shapley"]
    assert main(command) == 0
    (path,) = (tmp_path / "bridges" / "tiny").glob("*.feather")
    rows = feather.read_table(path).to_pylist()
    told = [row for row in rows if row["attribution_error"] is not None]
    assert told
    for row in told:
        assert "has no finite log-probability" in row["attribution_error"]
        assert row["attribution_shapley"] is None
        assert row["error"] is None
        assert row["prediction"] is not None


def test_a_kind_that_cannot_be_had_does_not_take_the_others_with_it(
    questions, tiny_folder, tmp_path
) -> None:
    # Where tokens are sampled, some come whose score is below the mean of the vocabulary.
    command = arguments("generate", questions, tiny_folder, tmp_path, "--method", "avg")
    command += ["--temperature", "2", "--attribution", "shapley,share"]
    assert main(command) == 0
    rows = _table(tmp_path, "avg").to_pylist()
    told = [row for row in rows if row["attribution_error"] is not None]
    assert 0 < len(told) < len(rows)
    for row in rows:
        assert (row["attribution_share"] is None) == (row in told)
        assert len(row["attribution_shapley"]["total"]) == 3
    assert "below the mean of the vocabulary" in told[0]["attribution_error"]


def test_a_question_that_is_given_up_has_no_attribution(questions, tiny_folder) -> None:
    asked = load_questions(str(questions), num_shots=2)
    ensemble = Ensemble(load_model(str(tiny_folder)), "avg")
    maker = AnswerMaker(ensemble, WordingChoice(3), asked, Attributed(("shapley",)))
    made = maker.give_up(asked.questions[0], "It took too long.", Order(("avg",)))
    (row,) = made.files["avg"].table.to_pylist()
    assert row["error"] == "It took too long."
    assert row["attribution_shapley"] is None is row["attribution_error"]


def test_a_rule_that_wants_all_wordings_ends_the_run(
    questions, tiny_folder, tmp_path, monkeypatch, capsys
) -> None:
    (tmp_path / "three_rules.py").write_text(RULE)
    monkeypatch.syspath_prepend(tmp_path)
    command = arguments("generate", questions, tiny_folder, tmp_path)
    command += ["--method", "three_rules:three"]
    message = _refused(capsys, [*command, "--attribution", "leave_one_out"])
    assert "three wordings, please" in message
    assert "given 2 wordings" in message


def test_results_read_from_python_have_the_columns(questions, tiny_folder, tmp_path) -> None:
    command = arguments("generate", questions, tiny_folder, tmp_path, "--method", "avg")
    assert main([*command, "--attribution", "share"]) == 0
    row = result(tmp_path, "ensemble_avg-3").iloc[0]
    assert len(row["attribution_share"]["total"]) == 3

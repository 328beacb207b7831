"""How fast the user's model is here; no numbers where answers are not right or not finite."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from transformers import RobertaConfig, RobertaForCausalLM

from self_ensemble.asking.methods import Method, resolve_method
from self_ensemble.asking.request import Request, Settings
from self_ensemble.bench import speed
from self_ensemble.bench.check import CHECKED, Check, check_answers
from self_ensemble.bench.speed import measure_speed
from self_ensemble.cli.main import main
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel, load_model
from self_ensemble.models.packed_linear import PackedLinear, unpack_linears
from self_ensemble.questions.load import load_questions
from self_ensemble.walking.stopping import StopRule
from tests.cli.commands import write_rows

# The second question alone has a tilde, in its second wording.
WORDINGS = [
    ["Who wrote the play?", "The play was written by whom?"],
    ["Who built the bridge?", "Who ~ built the bridge?"],
]


@pytest.fixture(autouse=True)
def little_work(monkeypatch) -> None:
    """Two wordings and two tokens instead of five and twenty, in one round."""
    for name, value in {
        "NUM_WORDINGS": 2,
        "NUM_SHOTS": 0,
        "NUM_TOKENS": 3,
        "NUM_ROUNDS": 1,
    }.items():
        monkeypatch.setattr(speed, name, value)


@pytest.fixture
def model(long_folder) -> LoadedModel:
    """A model of its own: these tests damage it."""
    return load_model(str(long_folder))


@pytest.fixture
def two_questions(tmp_path, monkeypatch) -> None:
    rows = [
        {"uuid": f"q{n}", "question": one, "paraphrases": others, "answers": ["x"]}
        for n, (one, *others) in enumerate(WORDINGS)
    ]
    path = write_rows(tmp_path / "two.jsonl", rows)
    monkeypatch.setattr(
        speed, "load_questions", lambda name, num_shots: load_questions(str(path), num_shots=0)
    )


def poison(model: LoadedModel, text: str) -> None:
    """Make every prompt that holds a text not finite."""
    (token,) = model.tokenizer(text)["input_ids"]
    model.model.get_input_embeddings().weight[token] = math.nan


def test_json_has_every_rival_and_what_was_compared(long_folder, capsys) -> None:
    asked = ["--model", str(long_folder), "--questions", "3", "--batch-size", "2"]
    assert main(["bench", *asked, "--method", "avg,vote", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rivals = ["generate_one", "generate_five", "causal_concat", "avg", "vote"]
    assert list(found["ms_per_question"]) == rivals
    assert all(len(laps) == 1 and laps[0] > 0 for laps in found["ms_per_question"].values())
    # Two questions: flex_attention, avg, two wordings of ours and of generate, causal_concat.
    assert found["check"] == {"num_tokens": 2 * 7 * 3, "num_rows": 4, "num_ties": 0}
    assert (found["questions"], found["batch_size"], found["device"]) == (3, 2, "cpu")


def test_a_line_for_every_rival_is_printed(long_folder, capsys) -> None:
    assert main(["bench", "--model", str(long_folder), "--batch-size", "1"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "21 tokens are the oracle's (0 ties), 2 answers of generate" in head
    names = [line.split()[0] for line in lines[1:]]
    assert names == ["generate_one", "generate_five", "causal_concat", "flex_attention", "avg"]


def test_answers_of_another_method_than_the_oracle_are_not_timed(
    long_folder, monkeypatch, capsys
) -> None:
    def spoilt(name: str) -> Method:
        return resolve_method("max" if name == "flex_attention" else name)

    monkeypatch.setattr(speed, "resolve_method", spoilt)
    assert main(["bench", "--model", str(long_folder), "--batch-size", "4", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Answers are not right (flex_attention, question" in err
    assert "no numbers are reported" in err


def test_a_model_that_generate_answers_otherwise_than_it_would_itself_is_refused(model):
    # Positions of RoBERTa's kin begin behind the padding's; `generate` counts from 0.
    config = RobertaConfig(
        vocab_size=len(model.tokenizer), hidden_size=16, num_hidden_layers=1, is_decoder=True,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=600,
    )  # fmt: skip
    roberta = replace(model, model=RobertaForCausalLM(config).eval())
    with pytest.raises(UserError, match="counts positions from 0 where this model counts from 2"):
        measure_speed(roberta, [resolve_method("avg")], num_questions=1, batch_size=1)


@pytest.mark.usefixtures("two_questions")
def test_a_wording_without_an_answer_is_not_timed(model) -> None:
    poison(model, "~")
    # It stands in the second batch, which is not compared with the oracle.
    with pytest.raises(UserError, match=r"No numbers without answers: .*nan or infinity"):
        measure_speed(model, [resolve_method("per_prompt")], num_questions=2, batch_size=1)


@pytest.mark.usefixtures("two_questions")
def test_a_question_without_an_answer_is_not_timed(model) -> None:
    poison(model, "~")
    with pytest.raises(UserError, match=r"Question 2: .*nan or infinity"):
        measure_speed(model, [resolve_method("avg")], num_questions=2, batch_size=1)


@pytest.fixture
def answered(model):
    """Parts, answers and rows of two questions, as they are compared; none has ended early."""
    ensemble = Ensemble(model, CHECKED, settings=Settings(max_new_tokens=3, stop=()))
    ensemble.stop = StopRule(model.tokenizer, frozenset(), (), 3)
    found = ensemble.run([Request(str(n), tuple(one)) for n, one in enumerate(WORDINGS)])
    rows = [member.token_ids for answer in found["per_prompt"] for member in answer.members]
    unpack_linears(model.model)
    return [ensemble.frame.parts(one) for one in WORDINGS], found, rows


def other(token_ids: tuple[int, ...]) -> tuple[int, ...]:
    return (*token_ids[:-1], token_ids[-1] ^ 1)


def test_right_answers_are_counted(model, answered) -> None:
    assert check_answers(model, *answered, 2) == Check(num_tokens=36, num_rows=4, num_ties=0)
    assert check_answers(model, *answered, 1) == Check(num_tokens=18, num_rows=4, num_ties=0)


@pytest.mark.parametrize("name", CHECKED)
def test_one_wrong_token_is_refused(model, answered, name) -> None:
    parts, found, rows = answered
    first, second = found[name]
    if name == "per_prompt":
        members = [replace(one, token_ids=other(one.token_ids)) for one in first.members]
        wrong = replace(first, members=tuple(members))
    else:
        wrong = replace(first, token_ids=other(first.token_ids))
    with pytest.raises(UserError, match=rf"{name}, question 0.*token 2: got \d+, expected \d+"):
        check_answers(model, parts, {**found, name: [wrong, second]}, rows, 1)


def test_a_wrong_row_of_generate_is_refused_in_any_question(model, answered) -> None:
    parts, found, rows = answered
    rows[3] = other(rows[3])
    with pytest.raises(UserError, match=r"generate, question 1, wording 1, token 2: got \d+"):
        check_answers(model, parts, found, rows, 1)


def test_an_oracle_that_is_not_finite_is_refused(model, answered) -> None:
    poison(model, "~")
    assert check_answers(model, *answered, 1).num_rows == 4
    with pytest.raises(UserError, match=r"question 1.*the oracle's logits are not finite"):
        check_answers(model, *answered, 2)


@pytest.mark.usefixtures("two_questions")
def test_no_token_ends_an_answer(model) -> None:
    unpack_linears(model.model)
    model.model.lm_head.weight.zero_()
    # All answers are now the first token, again and again.
    model.tokenizer.eos_token = model.tokenizer.convert_ids_to_tokens(0)
    check, _ = measure_speed(model, [resolve_method("avg")], num_questions=2, batch_size=2)
    assert check.num_tokens == 42


@pytest.mark.usefixtures("two_questions")
def test_the_model_is_as_it_was_afterwards(model) -> None:
    own, weights = model.model.generation_config, model.model.lm_head.weight.clone()
    measure_speed(model, [], num_questions=2, batch_size=2)
    assert model.model.generation_config is own
    assert type(model.model.lm_head) is PackedLinear
    assert torch.equal(model.model.lm_head.weight, weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--questions", "0"], "Got --questions 0. Give 1 or more"),
        (["--batch-size", "x"], "Give auto or a number"),
        (["--method", "flex_atention"], "Did you mean 'flex_attention'"),
        (["--method", "weighted_avg"], "needs weights"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_model_is_loaded(
    arguments, message, capsys
) -> None:
    assert main(["bench", "--model", "no/such_model", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_importing_the_command_does_not_load_torch() -> None:
    code = (
        "import sys, self_ensemble.cli.bench; "
        "print([n for n in ('torch', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

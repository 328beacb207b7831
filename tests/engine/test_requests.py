"""Requests that cannot be answered are refused with the reason, and those that can are not."""

import pytest
from asking import METHODS, QUESTIONS, WEIGHTS, ensemble, ready, requests, tokens

from self_ensemble.asking.request import Request
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("a", ()), "no wording"),
        (Request("a", ("Who?", " ")), "Wording 1 is empty"),
        (Request("a", QUESTIONS[0], weights=(1.0, 2.0)), "Got 2 weights for 3 wordings"),
        (Request("a", QUESTIONS[0], weights=(1.0, -2.0, 1.0)), "finite numbers from 0"),
        (Request("a", QUESTIONS[0], weights=(1.0, float("nan"), 1.0)), "finite numbers from 0"),
        (Request("a", QUESTIONS[0], weights=(0.0, 0.0, 0.0)), "at least one above 0"),
        (Request("a", QUESTIONS[0], segment_weights=(0.0,) * 3), "at least one above 0"),
        (Request("a", ("river " * 300,), weights=(1.0,)), "the model has 512"),
    ],
)
def test_a_request_that_cannot_be_asked_says_why(loaded, request_, message):
    asked = ensemble(loaded("llama"), "avg")
    problem = asked.problem(request_)
    assert problem is not None
    with pytest.raises(UserError, match=message) as refused:
        asked.run([request_])
    assert str(refused.value) == problem
    assert "\n" not in problem


def test_a_prompt_that_longrope_cannot_hold_says_so(tiny_model, tiny_tokenizer):
    model = tiny_model("phi3")
    model.config.rope_parameters = {
        "rope_type": "longrope", "original_max_position_embeddings": 64,
    }  # fmt: skip
    asked = ensemble(ready(model, tiny_tokenizer), "origin", prefix="")
    assert asked.problem(Request("a", ("Who?",))) is None
    refused = asked.problem(Request("a", ("river " * 40,)))
    assert "beyond 64 the model takes other rotary factors (longrope)" in refused


def test_missing_segment_weights_are_a_problem_of_the_request(loaded):
    asked = ensemble(loaded("llama"), ["flex_attention", "avg"], segment_weights="given")
    assert "no segment weights" in str(asked.problem(Request("a", QUESTIONS[0])))
    alone = ensemble(loaded("llama"), ["avg"], segment_weights="given")
    assert alone.problem(Request("a", QUESTIONS[0])) is None


def test_a_good_request_has_no_problem(loaded):
    asked = ensemble(loaded("llama"))
    assert [asked.problem(request) for request in requests()] == [None] * len(QUESTIONS)


@pytest.mark.parametrize("segment_weights", ["uniform", "given"])
@pytest.mark.parametrize("positions", ["aligned", "contiguous"])
@pytest.mark.parametrize("methods", [["origin"], ["flex_attention", "origin"], list(METHODS)])
def test_origin_is_answered_where_a_question_has_weights(
    loaded, methods, positions, segment_weights
):
    asked = ensemble(
        loaded("llama"), methods, positions=positions, segment_weights=segment_weights
    )
    weighted = [
        Request(str(n), wordings, weights=weights, segment_weights=weights)
        for n, (wordings, weights) in enumerate(zip(QUESTIONS, WEIGHTS, strict=True))
    ]
    plain = ensemble(loaded("llama"), "origin").run(requests(weights=None))["origin"]
    assert tokens(asked.run(weighted)["origin"]) == tokens(plain)


def test_no_request_gives_no_answer(loaded):
    assert ensemble(loaded("llama")).run([]) == {method: [] for method in METHODS}


def test_answers_do_not_depend_on_how_many_questions_are_asked_at_once(loaded):
    asked = Ensemble(loaded("llama"), "avg")
    expected = asked.answer_many(QUESTIONS)
    assert tokens([asked.answer(wordings) for wordings in QUESTIONS]) == tokens(expected)
    assert tokens(asked.answer_many(QUESTIONS, batch_size=2)) == tokens(expected)
    assert [str(answer) for answer in expected] == [answer.text for answer in expected]

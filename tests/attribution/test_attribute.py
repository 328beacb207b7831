"""Attribution as a user asks for it: which kinds there are, and what a real model's say."""

import time

import numpy as np
import pytest
from tests.engine.asking import QUESTIONS, ensemble

from self_ensemble.asking.methods import resolve_method
from self_ensemble.asking.request import Answer, Request, Settings
from self_ensemble.attribution.attribute import OrderSampling
from self_ensemble.attribution.kinds import KINDS, kinds_of
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import load_model
from self_ensemble.prompts.frame import whole_frame

GOOD = (
    "what is the capital of France?", "France's capital is?", "Name the capital city of France.",
    "Which city is the capital of France?",
)  # fmt: skip
NONSENSE = "banana seven the of green?"
PREFIX = (
    "Answer the question.\n\nQ: What is the capital of Spain?\nA: Madrid\n\n"
    "Q: Who wrote Hamlet?\nA: William Shakespeare\n\n"
)


@pytest.mark.parametrize(
    ("method", "kinds"),
    [
        ("flex_attention", ("mass", "leave_one_out", "shapley")),
        ("avg", ("leave_one_out", "shapley", "share")),
        ("gated", ("leave_one_out", "shapley", "share")),
        ("vote", ()),
        ("per_prompt", ()),
        ("origin", ()),
    ],
)
def test_each_method_has_the_kinds_that_make_sense_for_it(method, kinds) -> None:
    assert kinds_of(resolve_method(method)) == kinds


def test_a_users_rule_has_no_shares() -> None:
    def mine(logits, weights):
        return logits.mean(dim=-2)

    assert kinds_of(resolve_method(mine)) == ("leave_one_out", "shapley")


@pytest.mark.parametrize(
    ("method", "kinds", "message"),
    [
        ("avg", ["mass"], r"'mass' is not for 'avg'.*leave_one_out, shapley, share"),
        ("flex_attention", ["share"], r"'share' is not for 'flex_attention'.*Choose from: mass"),
        ("vote", ["shapley"], r"'shapley' is not for 'vote'.*Leave it out"),
        ("per_prompt", ["mass"], r"writes its own answer"),
        ("avg", ["shaply"], r"Unknown kind of attribution 'shaply'. Did you mean 'shapley'"),
        ("avg", [], r"No kind of attribution given. Choose from: " + ", ".join(KINDS)),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(loaded, method, kinds, message) -> None:
    asked = ensemble(loaded(), method)
    with pytest.raises(UserError, match=message) as found:
        asked.attribute(Request("q", QUESTIONS[0]), kinds)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("token_ids", "message"),
    [
        ((), "has no token"),
        ((65,) * 9, "has 9 tokens, and answers have at most 8"),
        ((65, 320), "has token 320, and the model has tokens 0 to 319"),
        ((65, -1), "has token -1"),
    ],
)
def test_an_answer_that_the_model_cannot_give_is_refused(loaded, token_ids, message) -> None:
    given = Answer("avg", "", "", token_ids, (), "length")
    with pytest.raises(UserError, match=message):
        ensemble(loaded(), "avg").attribute(Request("q", QUESTIONS[0]), ["share"], answer=given)


def test_any_answer_can_be_asked_about(loaded) -> None:
    asked = ensemble(loaded(), "flex_attention")
    given = Answer("flex_attention", "", "", (65, 66), (0.0, 0.0), "length")
    found = asked.attribute(Request("q", QUESTIONS[0]), ["mass", "shapley"], answer=given)
    assert found["mass"].token_ids == found["shapley"].token_ids == (65, 66)
    assert len(found["mass"].values) == len(found["shapley"].values) == 2


@pytest.mark.parametrize("method", ["flex_attention", "avg"])
def test_shapley_values_of_many_wordings_are_sampled_with_their_error(loaded, method) -> None:
    asked = ensemble(loaded(), method, max_new_tokens=2)
    wordings = tuple(f"{wording} {n}" for n in range(3) for wording in QUESTIONS[0])[:8]
    request = Request("q", wordings)
    found = [
        asked.attribute(request, ["shapley"], sampling=OrderSampling(num_orders=4, seed=seed))
        for seed in (0, 0, 1)
    ]
    one, again, other = (each["shapley"] for each in found)
    assert one == again != other
    assert one.num_orders == 4
    assert min(one.standard_error) >= 0 < max(one.standard_error)
    np.testing.assert_allclose(sum(one.total), sum(one.full) - sum(one.empty))


@pytest.fixture(scope="module")
def smollm():
    return load_model("smollm2_135m_it")


@pytest.mark.model
@pytest.mark.parametrize("method", ["flex_attention", "avg", "prob_avg"])
def test_a_nonsense_wording_does_less_than_a_good_one(smollm, method) -> None:
    asked = Ensemble(smollm, method, prefix=PREFIX)
    request = Request("q", (*GOOD, NONSENSE))
    for kind in kinds_of(asked.methods[0]):
        found = asked.attribute(request, [kind])[kind]
        assert found.tokens[0].strip() == "Paris"
        assert found.values[0][4] < min(found.values[0][:4]), kind
        assert found.total[4] < min(found.total[:4]), kind


@pytest.mark.model
@pytest.mark.parametrize("method", ["flex_attention", "avg"])
def test_equal_copies_have_equal_shares_whatever_the_kind(smollm, method) -> None:
    asked = Ensemble(smollm, method, prefix=PREFIX)
    request = Request("q", GOOD[:1] * 5)
    for one in asked.attribute(request, kinds_of(asked.methods[0])).values():
        values = np.array(one.values)
        assert np.abs(values - values[:, :1]).max() < 1e-3
        # Without one of five copies nothing is missing.
        assert (np.abs(values).max() > 0.01) == (one.kind != "leave_one_out")


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("method", ["flex_attention", "avg"])
def test_twenty_wordings_behind_a_long_prompt_can_be_asked_about(smollm, method) -> None:
    asked = Ensemble(
        smollm, method, prefix=PREFIX * 50, settings=Settings(max_new_tokens=3, stop=("\n",))
    )
    assert len(asked.frame.prefix) > 1600
    wordings = tuple(f"{GOOD[n % 4]} ({n})" for n in range(20))
    kinds = [kind for kind in kinds_of(asked.methods[0]) if kind != "shapley"]
    found = asked.attribute(Request("q", wordings), kinds)
    assert all(one.wordings == 20 for one in found.values())


@pytest.mark.model
def test_one_question_takes_seconds(smollm) -> None:
    asked = Ensemble(smollm, "flex_attention", prefix=PREFIX)
    started = time.perf_counter()
    asked.attribute(Request("q", (*GOOD, NONSENSE)), ("mass", "leave_one_out", "shapley"))
    # Half a second where nothing else runs.
    assert time.perf_counter() - started < 30


WHOLE = ("Q: Who wrote it?\nA:", "Q: It was written by whom?\nA:")


@pytest.mark.parametrize("method", ["flex_attention", "avg"])
@pytest.mark.parametrize(
    ("kind", "num", "weights"),
    [("shapley", 2, None), ("leave_one_out", 1, None), ("leave_one_out", 2, (1.0, 0.0))],
)
def test_whole_prompts_are_not_compared_with_one_without_a_question(
    loaded, method, kind, num, weights
) -> None:
    model = loaded()
    method = "weighted_avg" if weights and method == "avg" else method
    asked = Ensemble(model, method, frame=whole_frame(model.tokenizer),
                     settings=Settings(max_new_tokens=3, segment_weights="given"))  # fmt: skip
    uniform = (1.0,) * num
    given = Request("q", WHOLE[:num], weights or uniform, weights or uniform)
    with pytest.raises(
        UserError, match=r"these wordings are whole prompts.*two wordings"
    ) as caught:
        asked.attribute(given, [kind])
    assert caught.value.code == "SE-0503"
    both = asked.attribute(Request("q", WHOLE, (1.0, 1.0), (1.0, 1.0)), ["leave_one_out"])
    assert len(both["leave_one_out"].total) == 2

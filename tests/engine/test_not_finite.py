"""A score of nan or infinity is never an answer, and does not touch the answers beside it."""

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from asking import METHODS, QUESTIONS, WEIGHTS, ensemble, requests, tokens

from self_ensemble.asking.request import Answer, Request, Unanswered
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import next_logits_alone, next_logits_fused
from self_ensemble.walking.sampling import Sampling

WARM = Sampling(temperature=0.9, top_p=0.9, seed=3)
ROW, WORDING = 1, 1  # where the tokens of the tests below stand


def own_token(asked, taken: Mapping[str, Sequence[Answer]], row=ROW, wording=WORDING) -> int:
    """A token that one wording of one question has, no other, and no answer."""
    by_place = {
        (n, m): set(segment)
        for n, question in enumerate(QUESTIONS)
        for m, segment in enumerate(asked.frame.parts(question).segments)
    }
    others = {*asked.frame.prefix}
    others.update(*(asked.frame.parts(question).cue for question in QUESTIONS))
    others.update(*(ids for place, ids in by_place.items() if place != (row, wording)))
    for answers in taken.values():
        others.update(*(a.token_ids for one in answers for a in (one, *one.members)))
    return min(by_place[row, wording] - others)


def poison(model, token: int) -> None:
    model.model.get_input_embeddings().weight[token] = math.nan


def texts(outcomes: Sequence[Answer | Unanswered]) -> list[tuple[int, ...] | str]:
    return [one.error if isinstance(one, Unanswered) else one.token_ids for one in outcomes]


@pytest.mark.parametrize(
    ("family", "decode"), [("llama", "captured"), ("qwen3", "tree"), ("gpt2", "tree")]
)
def test_a_wording_that_is_not_finite_touches_nothing_else(loaded, family, decode):
    expected = ensemble(loaded(family), decode=decode).run(requests())
    model = loaded(family)
    asked = ensemble(model, decode=decode)
    poison(model, own_token(asked, expected))
    found = asked.run(requests())
    for method in METHODS:
        for row in (0, 2):
            assert texts([found[method][row]]) == texts([expected[method][row]])
        one = found[method][ROW]
        if method == "origin":
            assert texts([one]) == texts([expected[method][ROW]])
            continue
        if method == "per_prompt":
            # It shows the original wording's.
            assert texts([one]) == texts([expected[method][ROW]])
        else:
            assert isinstance(one, Unanswered)
            assert "Token 1 of the answer" in one.error
            assert "wording 2" in one.error
        if method in ("per_prompt", "vote"):
            for place, member in enumerate(one.members):
                assert isinstance(member, Unanswered) == (place == WORDING)
                if place != WORDING:
                    assert texts([member]) == texts([expected[method][ROW].members[place]])


@pytest.mark.parametrize("decode", ["tree", "captured"])
def test_a_token_that_is_not_finite_ends_the_answers_that_take_it(loaded, decode):
    whole = ensemble(loaded("llama")).run(requests())
    token = whole["avg"][0].token_ids[2]
    model = loaded("llama")
    poison(model, token)
    asked = ensemble(model, decode=decode)
    parts = asked.frame.parts(QUESTIONS[0])
    assert token not in {*parts.prefix, *parts.cue}.union(*parts.segments)
    found = asked.run(requests()[:1])
    for method in METHODS:
        before = whole[method][0]
        if method in ("vote", "per_prompt"):
            pairs = list(zip(before.members, found[method][0].members, strict=True))
        else:
            pairs = [(before, found[method][0])]
        for was, now in pairs:
            fed = was.token_ids[:-1]
            if token in fed:
                # The token itself is chosen, and what comes behind it is not.
                step = fed.index(token) + 2
                assert f"Token {step} of the answer" in now.error
            else:
                assert texts([now]) == texts([was])
    assert isinstance(found["avg"][0], Unanswered)


KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj",
         "input_layernorm", "post_attention_layernorm", "model.norm", "lm_head")  # fmt: skip


@pytest.mark.parametrize(("value", "decode"), [(math.nan, "tree"), (math.inf, "captured")])
@pytest.mark.parametrize("kind", KINDS)
def test_one_weight_that_is_not_finite_leaves_no_answer(loaded, kind, value, decode):
    model = loaded("llama")
    name, weight = next((n, w) for n, w in model.model.named_parameters() if kind in n)
    weight.view(-1)[3] = value
    methods = ["flex_attention", "avg", "per_prompt"]
    found = ensemble(model, methods, decode=decode, max_new_tokens=2).run(requests())
    prompt = ensemble(model).frame.parts(QUESTIONS[0]).alone(0)
    if math.isnan(next_logits_alone(model, prompt).amax()):
        assert all(isinstance(one, Unanswered) for rows in found.values() for one in rows), name
        assert "every prompt" in found["avg"][0].error
        assert "--dtype float32" in found["avg"][0].error
    else:
        # An infinite weight may give no more than an infinite logit, of one sign or the other.
        assert value == math.inf
        for rows in found.values():
            assert all(math.isfinite(x) for one in rows if isinstance(one, Answer)
                       for x in one.logprobs)  # fmt: skip


def oracles(model, parts):
    """The next logits behind some tokens: of each wording alone, and of all read together."""
    alone = [lambda ids, n=n: next_logits_alone(model, [*parts.alone(n), *ids]) for n in range(3)]
    return alone, lambda ids: next_logits_fused(model, parts, ids, [1 / 3] * 3)


@pytest.mark.parametrize("decode", ["tree", "captured"])
def test_logits_that_overflow_are_errors_where_the_oracle_has_infinity(loaded, decode):
    model = loaded("llama")
    model.model.lm_head.weight[5] = 3e38  # times the hidden state: infinite, of either sign
    asked = ensemble(model, ["flex_attention", "avg", "max", "prob_avg", "per_prompt"],
                     decode=decode)  # fmt: skip
    found = asked.run(requests())
    num_errors = 0
    for row, question in enumerate(QUESTIONS):
        every, fused = oracles(model, asked.frame.parts(question))
        members = found["per_prompt"][row].members
        cases = [(one, [logits]) for one, logits in zip(members, every, strict=True)]
        cases.append((found["flex_attention"][row], [fused]))
        cases += [(found[name][row], every) for name in ("avg", "max", "prob_avg")]
        for outcome, logits in cases:
            ids = outcome.token_ids if isinstance(outcome, Answer) else ()
            if isinstance(outcome, Unanswered):
                num_errors += 1
                if "Token 1 " in outcome.error:
                    assert any(not one(ids).amax().isfinite() for one in logits)
                continue
            for place in range(len(ids)):
                assert all(one(ids[:place]).amax().isfinite() for one in logits)
    assert num_errors > 0


@pytest.mark.parametrize("sampling", [Sampling(), WARM], ids=["greedy", "sampled"])
def test_tokens_that_a_model_rules_out_are_no_error(loaded, sampling):
    model = loaded("llama")
    ruled_out = [0, 1, 2, 303]

    def mask(module, inputs, output):
        return output.index_fill(-1, torch.tensor(ruled_out), -math.inf)

    model.model.lm_head.register_forward_hook(mask)
    for method, outcomes in ensemble(model, sampling=sampling).run(requests()).items():
        for outcome in outcomes:
            assert isinstance(outcome, Answer), (method, outcome)
            assert not set(outcome.token_ids) & set(ruled_out)
            assert all(map(math.isfinite, outcome.logprobs))


def test_sampled_answers_beside_one_that_is_not_finite_are_drawn_alike(loaded):
    methods = ["avg", "flex_attention", "per_prompt"]
    expected = ensemble(loaded("llama"), methods, sampling=WARM).run(requests())
    model = loaded("llama")
    asked = ensemble(model, methods, sampling=WARM)
    poison(model, own_token(asked, expected))
    found = asked.run(requests())
    for method in methods:
        assert texts(found[method][::2]) == texts(expected[method][::2])
    for place in (0, 2):
        assert texts([found["per_prompt"][ROW].members[place]]) == texts(
            [expected["per_prompt"][ROW].members[place]]
        )
    assert isinstance(found["per_prompt"][ROW].members[WORDING], Unanswered)


def test_explored_prompts_beside_one_that_is_not_finite_stay_as_they_are(loaded):
    prompts = [Request(f"p{n}", (one[WORDING],)) for n, one in enumerate(QUESTIONS)]
    expected = ensemble(loaded("llama"), "per_prompt").explore(prompts, 5, WARM)
    model = loaded("llama")
    asked = ensemble(model, "per_prompt")
    poison(model, own_token(asked, {}))
    found = asked.explore(prompts, 5, WARM)
    for row in (0, 2):
        assert texts([found[row].greedy, *found[row].samples]) == texts(
            [expected[row].greedy, *expected[row].samples]
        )
        assert torch.equal(found[row].first_logits, expected[row].first_logits)
    assert isinstance(found[ROW].greedy, Unanswered)
    assert all(isinstance(one, Unanswered) for one in found[ROW].samples)


def test_a_greedy_continuation_is_not_touched_by_samples_beside_it(loaded):
    prompts = [Request("p", (QUESTIONS[0][0],))]
    before = ensemble(loaded("llama"), "per_prompt").explore(prompts, 8, WARM)[0]
    taken = {token for one in before.samples for token in one.token_ids[:-1]}
    asked = ensemble(loaded("llama"), "per_prompt")
    parts = asked.frame.parts(prompts[0].wordings)
    prompt = {*parts.alone(0)}
    token = min(taken - set(before.greedy.token_ids) - prompt)
    poison(asked.model, token)
    found = asked.explore(prompts, 8, WARM)[0]
    assert texts([found.greedy]) == texts([before.greedy])
    assert any(isinstance(one, Unanswered) for one in found.samples)


@pytest.mark.parametrize("decode", ["tree", "captured"])
def test_a_rule_that_refuses_what_is_not_finite_is_not_to_blame_for_it(loaded, decode):
    rule = "hostile_rules:refuses_nan"
    expected = ensemble(loaded("llama"), [rule], decode=decode).run(requests())
    model = loaded("llama")
    asked = ensemble(model, [rule], decode=decode)
    poison(model, own_token(asked, expected))
    found = asked.run(requests())[rule]
    assert texts(found[::2]) == texts(expected[rule][::2])
    assert "for wording 2, " in found[ROW].error
    model.model.lm_head.weight[5] = math.nan
    nothing = ensemble(model, [rule], decode=decode).run(requests()[:1])[rule]
    assert "for every prompt" in nothing[0].error


def test_the_wording_that_is_blamed_is_shown(loaded):
    model = loaded("llama")
    asked = ensemble(model, ["avg", "per_prompt", "origin"])
    poison(model, own_token(asked, {}))
    shown = repr(QUESTIONS[ROW][WORDING])
    found = asked.run(requests())
    assert f"for wording 2, {shown} (avg)." in found["avg"][ROW].error
    assert f"for wording 2, {shown}." in found["per_prompt"][ROW].members[WORDING].error
    alone = [Request("p", (QUESTIONS[ROW][WORDING],))]
    for one in (asked.run(alone)["origin"][0], asked.explore(alone, 0, WARM)[0].greedy):
        assert f"for the wording {shown}." in one.error
    long = asked.run([Request("p", (f"{QUESTIONS[ROW][WORDING]} " * 5,))])["origin"][0].error
    assert "...'. Load" in long


def test_what_every_prompt_has_is_blamed_before_a_wording(loaded):
    model = loaded("llama")
    poison(model, ensemble(model).frame.prefix[2])
    found = ensemble(model, ["origin", "per_prompt"]).run(requests()[:1])
    for (one,) in found.values():
        assert "for every prompt" in one.error


def test_a_model_that_gives_nan_for_every_prompt_is_looked_at_once(loaded):
    model = loaded("llama")
    model.model.lm_head.weight[5] = math.nan
    asked = ensemble(model)
    found = asked.run(requests())
    assert all(isinstance(one, Unanswered) for rows in found.values() for one in rows)
    # The prefix, all questions, and what they have in common.
    assert asked.counters.forwards == 3


def test_answer_raises_with_the_words_of_the_error_row(loaded):
    model = loaded("llama")
    asked = ensemble(model, "avg")
    poison(model, own_token(asked, {}))
    error = asked.run(requests())["avg"][ROW].error
    with pytest.raises(UserError) as alone:
        asked.answer(QUESTIONS[ROW])
    assert str(alone.value) == error
    with pytest.raises(UserError, match="Question 2: Token 1 of the answer"):
        asked.answer_many(QUESTIONS)
    # The questions beside it have answers.
    assert texts([asked.answer(QUESTIONS[0])]) == texts(asked.run(requests())["avg"][:1])


def test_an_error_has_no_text_that_could_be_taken_for_an_answer():
    with pytest.raises(AttributeError):
        Unanswered("avg", "why").text  # noqa: B018


def test_a_gate_does_not_open_by_a_wording_that_has_no_favourite(loaded):
    model = loaded("llama")
    asked = ensemble(model, ["gated", "weighted_max"])
    poison(model, own_token(asked, {}))
    found = asked.run(requests(weights=((1.0, 0.0, 0.0), *WEIGHTS[1:])))
    assert isinstance(found["gated"][ROW], Unanswered)
    assert tokens([found["gated"][0]]) == tokens(
        [ensemble(loaded("llama"), "gated").run(requests())["gated"][0]]
    )

"""Log-likelihoods of given continuations against the oracle, and against the model's own."""

import math

import pytest
import torch
from asking import (
    METHODS,
    PREFIX,
    QUESTIONS,
    TIED,
    WEIGHTS,
    combine_slowly,
    ensemble,
    requests,
    with_prior,
)  # fmt: skip

from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import next_logits_alone, next_logits_fused
from self_ensemble.prompts.frame import whole_frame

# Of different lengths; two of one question begin alike, and one is a single token.
CONTINUATIONS = ((60, 61, 62, 63), (60, 61, 70), (70,))
WINDOWED = [("llama", None), ("gpt2", None), ("mistral", 8)]
CAN = tuple(method for method in METHODS if method != "vote")


def _slowly(asked, method, wordings, weights, token_ids):
    """Log-probability and best token at each place, everything computed anew for each."""
    parts = asked.frame.parts(wordings)
    logprobs, best = [], []
    for place, token in enumerate(token_ids):
        given = list(token_ids[:place])
        if method == "flex_attention":
            uniform = [1 / len(wordings)] * len(wordings)
            scores = next_logits_fused(asked.model, parts, given, uniform).double()
        elif method in TIED:
            parts_of = with_prior(parts) if method == "contrast" else parts
            each = [
                next_logits_alone(asked.model, [*parts_of.alone(n), *given])
                for n in range(len(parts_of.segments))
            ]
            scores = combine_slowly(method, each, weights).double()
            if method in ("max", "weighted_max", "prob_avg", "min_entropy", "gated"):
                scores = scores.log()  # these are probabilities
        else:
            scores = next_logits_alone(asked.model, [*parts.alone(0), *given]).double()
        logprobs.append(float(scores[token] - scores.logsumexp(dim=0)))
        best.append(int(scores.argmax()))
    return logprobs, best


@pytest.mark.parametrize("num_wordings", [1, 3])
@pytest.mark.parametrize("method", CAN)
def test_log_likelihoods_are_the_oracles(loaded, method, num_wordings):
    asked = ensemble(loaded("llama"), CAN)
    some = requests(
        [wordings[:num_wordings] for wordings in QUESTIONS],
        [weights[:num_wordings] for weights in WEIGHTS],
    )
    pairs = [(request, ids) for request in some for ids in CONTINUATIONS]
    found = asked.log_likelihoods(pairs, method)
    for (request, ids), one in zip(pairs, found, strict=True):
        logprobs, best = _slowly(asked, method, request.wordings, request.weights, ids)
        assert one.logprobs == pytest.approx(logprobs, abs=1e-4)  # float32 in another order
        assert list(one.best) == best
        assert one.total == pytest.approx(sum(logprobs), abs=4e-4)


@pytest.mark.parametrize(("family", "window"), WINDOWED)
@pytest.mark.parametrize("method", ["flex_attention", "avg", "gated", "per_prompt"])
def test_one_wording_has_the_models_own_log_likelihood(loaded, family, window, method):
    asked = ensemble(loaded(family, sliding_window=window), method)
    untouched = loaded(family, sliding_window=window)
    for request in requests([wordings[:1] for wordings in QUESTIONS], None):
        prompt = asked.frame.parts(request.wordings).alone(0)
        for ids in CONTINUATIONS:
            with torch.inference_mode():
                logits = untouched.model(torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
            places = range(len(prompt) - 1, len(prompt) + len(ids) - 1)
            expected = [
                float(logits[place, token]) for place, token in zip(places, ids, strict=True)
            ]
            (one,) = asked.log_likelihoods([(request, ids)])
            assert one.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", CAN)
def test_an_answers_own_log_probabilities_are_those_of_its_tokens(loaded, method):
    asked = ensemble(loaded("llama"), CAN)
    some = requests()
    for request, answer in zip(some, asked.run(some)[method], strict=True):
        (one,) = asked.log_likelihoods([(request, answer.token_ids)], method)
        assert one.logprobs == pytest.approx(answer.logprobs, abs=1e-4)
        assert one.is_greedy
        (other,) = asked.log_likelihoods([(request, (*answer.token_ids[:-1], 5))], method)
        assert not other.is_greedy


def test_every_wording_has_its_own(loaded):
    asked = ensemble(loaded("llama"), "per_prompt")
    (one,) = asked.log_likelihoods([(requests()[0], CONTINUATIONS[0])])
    alone = [
        asked.log_likelihoods([(Request("q", (wording,)), CONTINUATIONS[0])])[0]
        for wording in QUESTIONS[0]
    ]
    assert one.logprobs == one.members[0].logprobs
    for member, expected in zip(one.members, alone, strict=True):
        assert member.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert len({member.total for member in one.members}) == 3


def test_different_numbers_of_wordings_keep_their_order(loaded):
    asked = ensemble(loaded("llama"), "flex_attention")
    some = [Request(str(n), QUESTIONS[n % 3][: 1 + n % 2]) for n in range(5)]
    together = asked.log_likelihoods([(request, CONTINUATIONS[1]) for request in some])
    for request, one in zip(some, together, strict=True):
        (alone,) = asked.log_likelihoods([(request, CONTINUATIONS[1])])
        assert one.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_several_continuations_share_a_prefill_and_what_they_begin_with(loaded):
    asked = ensemble(loaded("llama"), "flex_attention")
    asked.prefix()
    before = asked.counters.prompt_tokens
    request = requests()[0]
    asked.log_likelihoods([(request, (60, 61, 62)), (request, (60, 61, 70)), (request, (9,))])
    once = asked.counters.prompt_tokens - before
    assert asked.counters.decode_tokens == 2  # 60, 61
    asked.log_likelihoods([(request, (9,))])
    assert asked.counters.prompt_tokens - before == 2 * once


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("family", "window"), [*WINDOWED, ("gemma3", 8)])
def test_one_pass_gives_what_a_pass_for_each_token_does(
    loaded, family, window, attention, monkeypatch
):
    model = loaded(family, sliding_window=window)
    asked = ensemble(model, ["flex_attention", "avg", "per_prompt"], attention=attention)
    long = tuple(range(60, 80))
    pairs = [(one, ids) for one in requests() for ids in (long, (*long[:9], *long[12:]), (9,))]
    for method in asked.methods:
        asked.prefix()
        before = asked.counters.forwards
        fast = asked.log_likelihoods(pairs, method)
        assert asked.counters.forwards - before == 2  # the prompts, the continuations
        with monkeypatch.context() as patch:
            patch.setattr("self_ensemble.passes.tails.TOKENS_AT_ONCE", 1)
            slow = asked.log_likelihoods(pairs, method)
        assert asked.counters.forwards - before == 2 + 20
        for one, other in zip(fast, slow, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, rel=1e-5, abs=1e-5)
            assert one.best == other.best


def test_a_token_that_is_not_finite_is_named_by_its_own_place(loaded):
    model = loaded("llama")
    asked = ensemble(model, "avg")
    with torch.no_grad():
        model.model.get_input_embeddings().weight[63] = torch.nan
    request, other = requests()[:2]
    # What predicts is the token before; in one pass nan reaches the tokens in front of it, too.
    with pytest.raises(UserError, match=r"Token 4 .*question q0"):
        asked.log_likelihoods([(request, (60, 61, 63, 64)), (other, (60, 61))])
    (fine,) = asked.log_likelihoods([(request, (60, 61, 63))])
    assert all(map(math.isfinite, fine.logprobs))


def test_a_text_is_read_as_behind_the_prompt(loaded):
    asked = ensemble(loaded("llama"), "flex_attention")
    request = Request("q", QUESTIONS[0])
    (one,) = asked.log_likelihoods([(request, " Paris")])
    whole = asked.model.tokenizer(PREFIX + f"Q: {QUESTIONS[0][0]}\nA: Paris")["input_ids"]
    assert list(asked.frame.parts(QUESTIONS[0]).alone(0) + one.token_ids) == whole


def test_a_whole_prompt_of_ones_own_and_settings_of_ones_own_count(loaded):
    model = loaded("llama")
    asked = ensemble(model, "origin")
    text = "The river is wide and slow.\nSo"
    own = Request("q", (text,), frame=whole_frame(model.tokenizer), settings=Settings())
    (one,) = asked.log_likelihoods([(own, (60, 61))])
    plain = Ensemble(model, "origin", frame=whole_frame(model.tokenizer))
    (expected,) = plain.log_likelihoods([(Request("q", (text,)), (60, 61))])
    assert one.logprobs == pytest.approx(expected.logprobs, abs=1e-4)


@pytest.mark.parametrize(
    ("method", "given", "says"),
    [
        ("vote", (60,), "no probability"),
        ("avg", (), "has no token"),
        ("avg", "", "has no token"),
        ("avg", (100_000,), "the model has tokens 0 to 319"),
        ("avg", (60,) * 5000, "5000 new tokens"),
    ],
)
def test_what_has_no_likelihood_is_refused(loaded, method, given, says):
    asked = ensemble(loaded("llama"), method)
    with pytest.raises(UserError, match=says):
        asked.log_likelihoods([(Request("q", QUESTIONS[0]), given)])


def test_a_rule_that_makes_nan_is_named_and_does_not_touch_others(loaded):
    def spoilt(logits, weights):
        scores = logits.mean(dim=-2)
        return torch.where(scores[:, :1] > threshold, math.nan, scores)

    asked = ensemble(loaded("llama"), "avg")
    some = [Request(f"q{n}", wordings) for n, wordings in enumerate(QUESTIONS)]
    pairs = [(request, (60,)) for request in some]
    threshold = math.inf
    fine = asked.log_likelihoods(pairs, spoilt)
    threshold = -math.inf
    with pytest.raises(UserError, match=r"Token 1 .*question q0.*nan or infinity"):
        asked.log_likelihoods(pairs, spoilt)
    assert [one.logprobs for one in fine] == [
        pytest.approx(one.logprobs) for one in asked.log_likelihoods(pairs)
    ]


def test_an_infinite_score_makes_no_probability_of_the_others(loaded):
    def certain(logits, weights):
        scores = logits.mean(dim=-2)
        scores[:, 7] = math.inf
        return scores

    asked = ensemble(loaded("llama"), "avg")
    with pytest.raises(UserError, match=r"Token 1 .*nan or infinity"):
        asked.log_likelihoods([(requests()[0], (60,))], certain)


def test_what_a_rule_rules_out_has_no_probability(loaded):
    def only_even(logits, weights):
        scores = logits.mean(dim=-2)
        scores[:, 1::2] = -math.inf
        return scores

    asked = ensemble(loaded("llama"), "avg")
    (one,) = asked.log_likelihoods([(requests()[0], (61, 60))], only_even)
    assert one.logprobs[0] == -math.inf
    assert math.isfinite(one.logprobs[1])
    assert one.total == -math.inf

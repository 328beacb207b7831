"""Log-probabilities under some of the wordings against full recomputes with those alone."""

from itertools import combinations

import numpy as np
import pytest
import torch
from tests.engine.asking import QUESTIONS, TIED, WEIGHTS, combine_slowly, ensemble, ready
from tests.engine.families import tiny_family

from self_ensemble.asking.layout import Streams
from self_ensemble.asking.methods import resolve_method
from self_ensemble.asking.request import Request
from self_ensemble.attribution.asked import Asked
from self_ensemble.attribution.fused import fused_worth
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import next_logits_alone, next_logits_fused
from self_ensemble.passes.tails import Tail, tail_logprobs

SUBSETS = [one for size in range(4) for one in combinations(range(3), size)]
FAMILIES = [
    ("llama", None), ("mistral", 8), ("gemma2", 8), ("gemma3", 8), ("gpt2", None), ("phi3", None)
]  # fmt: skip
# Rounding of float32 in models with weights larger than usual, over eight tokens.
TOLERANCE = {"rtol": 1e-3, "atol": 2e-3}


def _request(number=0, **weights):
    return Request("q", QUESTIONS[number], **weights)


def _logprobs(next_logits, token_ids) -> list[float]:
    return [
        float(next_logits(token_ids[:place]).double().log_softmax(dim=-1)[token])
        for place, token in enumerate(token_ids)
    ]


def _fused_slowly(untouched, parts, weights, subset, token_ids):
    """The answer's log-probabilities, every token recomputed in full, positions kept."""
    if not subset:
        prompt = [*parts.prefix, *parts.without_question]
        return _logprobs(lambda t: next_logits_alone(untouched, [*prompt, *t]), token_ids)
    total = sum(weights[index] for index in subset)
    some = [weights[n] / total if n in subset else 0.0 for n in range(len(weights))]
    return _logprobs(
        lambda t: next_logits_fused(untouched, parts, t, some, keep_positions=True), token_ids
    )


@pytest.mark.parametrize(("family", "window"), FAMILIES)
def test_fused_answers_without_wordings_equal_full_recomputes(
    loaded, prefix_apart, family, window
) -> None:
    asked = ensemble(
        loaded(family, sliding_window=window), "flex_attention", segment_weights="given"
    )
    untouched = loaded(family, sliding_window=window)
    request = _request(segment_weights=WEIGHTS[0])
    (answer,) = asked.run([request])["flex_attention"]
    question = Asked(asked.prefiller, request, asked.methods[0], answer.token_ids)
    parts = asked.frame.parts(request.wordings)
    for subset, logprobs in fused_worth(question, SUBSETS).items():
        expected = _fused_slowly(untouched, parts, WEIGHTS[0], subset, answer.token_ids)
        np.testing.assert_allclose(logprobs, expected, **TOLERANCE)


def test_it_is_so_with_sinks(tiny_tokenizer) -> None:
    asked = ensemble(
        ready(tiny_family("gpt_oss", tiny_tokenizer), tiny_tokenizer), "flex_attention"
    )
    untouched = ready(tiny_family("gpt_oss", tiny_tokenizer), tiny_tokenizer)
    (answer,) = asked.run([_request()])["flex_attention"]
    question = Asked(asked.prefiller, _request(), asked.methods[0], answer.token_ids)
    parts = asked.frame.parts(QUESTIONS[0])
    for subset, logprobs in fused_worth(question, SUBSETS).items():
        expected = _fused_slowly(untouched, parts, [1.0] * 3, subset, answer.token_ids)
        np.testing.assert_allclose(logprobs, expected, **TOLERANCE)


@pytest.mark.parametrize("dropped", [0, 2])
def test_leave_one_out_equals_a_run_without_that_wording(loaded, dropped) -> None:
    # The longest wording stays, so positions are kept.
    asked = ensemble(loaded(), "flex_attention", segment_weights="given")
    (answer,) = asked.run([_request(segment_weights=(1.0,) * 3)])["flex_attention"]
    without = _request(segment_weights=tuple(float(n != dropped) for n in range(3)))
    (other,) = asked.run([without])["flex_attention"]
    kinds = ("leave_one_out",)
    found = asked.attribute(
        _request(segment_weights=(1.0,) * 3), kinds, answer=other
    )["leave_one_out"]  # fmt: skip
    left = np.array(found.full) - np.array(found.values)[:, dropped]
    np.testing.assert_allclose(left, other.logprobs, **TOLERANCE)
    assert answer.token_ids != other.token_ids or not np.allclose(answer.logprobs, other.logprobs)


@pytest.mark.parametrize("method", TIED)
def test_logit_level_answers_without_wordings_are_fused_of_the_others(loaded, method) -> None:
    asked = ensemble(loaded(), method)
    request, untouched = _request(weights=WEIGHTS[0]), loaded()
    (answer,) = asked.run([request])[method]
    found = asked.attribute(request, ("leave_one_out", "shapley"), answer=answer)
    parts = asked.frame.parts(request.wordings)
    prompts = [[*parts.alone(n)] for n in range(3)]
    prior = [*parts.prefix, *parts.without_question]

    def scores(tokens, subset):
        each = [next_logits_alone(untouched, prompts[n] + list(tokens)) for n in subset]
        if method == "contrast":
            each.append(next_logits_alone(untouched, prior + list(tokens)))
        combined = combine_slowly(method, each, [WEIGHTS[0][n] for n in subset])
        is_logit = method in ("avg", "weighted_avg", "logprob_avg", "contrast")
        return combined if is_logit else combined.log()

    full = _logprobs(lambda t: scores(t, (0, 1, 2)), answer.token_ids)
    np.testing.assert_allclose(found["leave_one_out"].full, full, **TOLERANCE)
    for dropped in range(3):
        kept = tuple(n for n in range(3) if n != dropped)
        without = _logprobs(lambda t, kept=kept: scores(t, kept), answer.token_ids)
        values = np.array(found["leave_one_out"].values)[:, dropped]
        np.testing.assert_allclose(values, np.array(full) - without, **TOLERANCE)
    empty = _logprobs(lambda t: next_logits_alone(untouched, prior + list(t)), answer.token_ids)
    np.testing.assert_allclose(found["shapley"].empty, empty, **TOLERANCE)


VARIANTS = [
    {}, {"positions": "contiguous"}, {"fusion_point": "last_segment"}, {"segment_weights": "none"},
    {"positions": "contiguous", "fusion_point": "last_segment"}, {"decode": "captured"},
    {"attention": "eager"}, {"prefix": ""}, {"max_new_tokens": 1},
]  # fmt: skip


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("method", ["flex_attention", "avg", "contrast"])
def test_with_all_wordings_it_is_the_runs_own_logprob_and_shapley_sums_to_the_rest(
    loaded, method, settings
) -> None:
    asked = ensemble(loaded(), method, **settings)
    (answer,) = asked.run([_request(1)])[method]
    found = asked.attribute(_request(1), ("shapley", "leave_one_out"), answer=answer)
    for one in found.values():
        np.testing.assert_allclose(one.full, answer.logprobs, **TOLERANCE)
        np.testing.assert_allclose(np.sum(one.values, axis=0), one.total)
        assert one.token_ids == answer.token_ids
        assert one.wordings == 3
    shapley = found["shapley"]
    whole = np.array(shapley.full) - np.array(shapley.empty)
    np.testing.assert_allclose(np.sum(shapley.values, axis=1), whole, atol=1e-9)
    assert np.abs(shapley.values).max() > 0.01


def test_where_the_cue_is_part_of_the_wordings_the_last_that_is_left_predicts_the_first_token(
    loaded,
) -> None:
    asked = ensemble(loaded(), "flex_attention", fusion_point="last_segment")
    (answer,) = asked.run([_request()])["flex_attention"]
    question = Asked(asked.prefiller, _request(), asked.methods[0], answer.token_ids)
    parts, untouched = asked.frame.parts(QUESTIONS[0]), loaded()
    for subset, logprobs in fused_worth(question, SUBSETS[1:]).items():
        logits = next_logits_alone(untouched, parts.alone(subset[-1]))
        expected = logits.log_softmax(dim=-1)[answer.token_ids[0]]
        np.testing.assert_allclose(logprobs[0], float(expected), **TOLERANCE)


@pytest.mark.parametrize("positions", ["aligned", "contiguous"])
@pytest.mark.parametrize("fusion_point", ["cue", "last_segment"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_long_wording_without_weight_moves_no_position(
    loaded, positions, fusion_point, number
) -> None:
    longest = max(range(3), key=lambda n: len(QUESTIONS[number][n]))
    weights = tuple(float(n != longest) for n in range(3))
    asked = ensemble(
        loaded(), "flex_attention", segment_weights="given",
        positions=positions, fusion_point=fusion_point,
    )  # fmt: skip
    request = _request(number, segment_weights=weights)
    (answer,) = asked.run([request])["flex_attention"]
    found = asked.attribute(request, ["leave_one_out"], answer=answer)["leave_one_out"]
    np.testing.assert_allclose(found.full, answer.logprobs, **TOLERANCE)


@pytest.mark.parametrize("name", ["TOKENS_AT_ONCE", "LOGITS_AT_ONCE"])
def test_many_small_passes_give_what_one_gives(loaded, monkeypatch, name) -> None:
    asked = ensemble(loaded())
    expected = asked.attribute(_request(), ["shapley"])["shapley"]
    before = asked.counters.forwards
    monkeypatch.setattr(f"self_ensemble.passes.tails.{name}", 1)
    found = asked.attribute(_request(), ["shapley"])["shapley"]
    np.testing.assert_allclose(found.values, expected.values, **TOLERANCE)
    assert asked.counters.forwards > 2 * before


def test_one_prefill_serves_all_subsets(loaded) -> None:
    asked = ensemble(loaded(), "flex_attention")
    (answer,) = asked.run([_request()])["flex_attention"]
    question = Asked(asked.prefiller, _request(), asked.methods[0], answer.token_ids)
    before = asked.counters.forwards
    fused_worth(question, SUBSETS)
    # The prompt, the prompt without the question, and all other subsets together.
    assert asked.counters.forwards - before == 3


@pytest.mark.parametrize("method", ["flex_attention", "weighted_avg", "weighted_max"])
def test_a_wording_without_weight_has_done_nothing(loaded, method) -> None:
    weights = (0.5, 0.0, 0.5)
    asked = ensemble(loaded(), method, segment_weights="given")
    request = _request(weights=weights, segment_weights=weights)
    found = asked.attribute(request, ("leave_one_out", "shapley"))
    for one in found.values():
        assert set(np.array(one.values)[:, 1]) == {0.0}
        assert np.abs(one.values).max() > 0.01


@pytest.mark.parametrize("method", ["flex_attention", "avg", "max", "min_entropy"])
def test_equal_copies_have_equal_values(loaded, method) -> None:
    asked = ensemble(loaded(), method)
    copies = Request("q", (QUESTIONS[0][0],) * 4)
    values = np.array(asked.attribute(copies, ["shapley"])["shapley"].values)
    np.testing.assert_allclose(values, values[:, :1].repeat(4, axis=1), atol=1e-3)
    assert np.abs(values).max() > 0.01


def test_one_wording_is_all_there_is(loaded) -> None:
    asked = ensemble(loaded(), "flex_attention")
    found = asked.attribute(Request("q", QUESTIONS[0][:1]), ("leave_one_out", "shapley"))
    whole = np.array(found["shapley"].full) - np.array(found["shapley"].empty)
    for one in found.values():
        np.testing.assert_allclose(np.array(one.values)[:, 0], whole)


def test_wordings_that_read_each_other_cannot_be_left_out(loaded) -> None:
    request = Request("q", QUESTIONS[0], readable=((1, 0),))
    asked = ensemble(loaded(), "flex_attention")
    with pytest.raises(UserError, match="read each other"):
        asked.attribute(request, ["shapley"])
    assert asked.attribute(request, ["mass"])["mass"].wordings == 3


def test_a_users_rule_that_wants_all_wordings_is_named(loaded) -> None:
    def three(logits, weights):
        if logits.shape[-2] != 3:
            raise ValueError("three wordings, please")
        return logits.mean(dim=-2)

    asked = ensemble(loaded(), [three])
    with pytest.raises(
        UserError, match=r"three wordings, please.*given \d wordings, question q\)\.$"
    ):
        asked.attribute(_request(), ["leave_one_out"], resolve_method(three))


def test_what_is_not_finite_is_refused_with_its_place(loaded) -> None:
    def sure(logits, weights):
        # All that one wording by itself would not say is ruled out.
        best = logits.argmax(dim=-1, keepdim=True)
        only = torch.full_like(logits, -torch.inf).scatter(-1, best, 0.0)
        return only.amax(dim=-2)

    asked = ensemble(loaded(), [sure])
    with pytest.raises(UserError, match=r"Token \d of the answer has no finite log-probability"):
        asked.attribute(_request(), ["shapley"])


def test_tails_leave_the_prompt_as_it_was(loaded) -> None:
    asked = ensemble(loaded(), "flex_attention")
    streams = Streams(fused=True, num_alone=0, prior=False)
    batch, _ = asked.prefiller.prefill([_request()], asked.methods, streams)
    used, groups = batch.used_B.tolist(), batch.num_groups_B.tolist()
    tails = [Tail((65, 66), 20, torch.zeros(1))] * 3
    assert tail_logprobs(batch, tails, (67,)).shape == (3, 1)
    assert (batch.used_B.tolist(), batch.num_groups_B.tolist()) == (used, groups)
    assert batch.key_group_BS.shape[1] == used[0]


def test_a_users_rule_may_be_left_with_wordings_without_weight(loaded) -> None:
    def heard(logits, weights):
        return (logits * (0.5 + weights)[..., None]).sum(dim=-2)

    asked = ensemble(loaded(), [heard])
    request = _request(weights=(1.0, 0.0, 0.0))
    (found,) = asked.attribute(request, ["leave_one_out"]).values()
    assert np.isfinite(found.values).all()

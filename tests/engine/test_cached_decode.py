"""Every method's cached decode against a full recompute without cache, batch or packing."""

from itertools import combinations

import pytest
from asking import (
    FAMILIES,
    METHODS,
    QUESTIONS,
    TIED,
    WEIGHTS,
    combine_slowly,
    ensemble,
    greedy_tied_slowly,
    requests,
    tokens,
)

from self_ensemble.oracle.reference import (
    greedy_fused,
    greedy_tied,
    next_logits_alone,
    next_logits_fused,
)
from self_ensemble.passes.cache import GROWTH
from self_ensemble.scoring.vote import vote

WINDOWED = ("qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3")
CASES = [(family, None) for family in FAMILIES] + [(family, 8) for family in WINDOWED]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def answered(request, loaded):
    """The asked ensemble, an untouched copy of its model, and its answers to all methods."""
    family, window = request.param
    asked = ensemble(loaded(family, sliding_window=window))
    return asked, loaded(family, sliding_window=window), asked.run(requests())


def test_the_fused_answer_equals_the_full_recompute(answered):
    asked, untouched, answers = answered
    for wordings, answer in zip(QUESTIONS, answers["flex_attention"], strict=True):
        parts = asked.frame.parts(wordings)
        thirds = [1 / 3] * 3
        expected = greedy_fused(untouched, parts, thirds, len(answer.token_ids))
        assert list(answer.token_ids) == expected


@pytest.mark.parametrize("method", TIED)
def test_a_tied_answer_equals_the_full_recompute(answered, method):
    asked, untouched, answers = answered
    for wordings, weights, answer in zip(QUESTIONS, WEIGHTS, answers[method], strict=True):
        parts = asked.frame.parts(wordings)
        expected = greedy_tied_slowly(untouched, parts, method, weights, len(answer.token_ids))
        assert list(answer.token_ids) == expected


def test_every_wording_of_its_own_equals_the_full_recompute(answered):
    asked, untouched, answers = answered
    for row, wordings in enumerate(QUESTIONS):
        members = answers["per_prompt"][row].members
        for n, member in enumerate(members):
            parts = asked.frame.parts(wordings[n : n + 1])
            expected = greedy_tied(untouched, parts, lambda each: each[0], len(member.token_ids))
            assert list(member.token_ids) == expected
        assert answers["origin"][row].token_ids == members[0].token_ids
        assert answers["vote"][row].members == members
        winner = vote([m.text for m in members], [m.mean_logprob for m in members])
        assert answers["vote"][row].token_ids == members[winner].token_ids


def test_methods_part_after_common_tokens_in_these_questions(answered):
    # Without a fork the tests above would not see whether forked continuations read each other.
    _, _, answers = answered
    forks = 0
    for one, other in combinations(TIED, 2):
        for a, b in zip(tokens(answers[one]), tokens(answers[other]), strict=True):
            forks += a[0] == b[0] and a != b
    assert forks > 0


def test_all_methods_are_answered(answered):
    assert list(answered[2]) == list(METHODS)


def test_logprobs_are_those_of_the_fused_distribution(loaded):
    asked = ensemble(loaded("llama"), ["prob_avg"])
    answer = asked.run(requests()[:1])["prob_avg"][0]
    untouched, seen = loaded("llama"), []

    def combine(each):
        mixture = combine_slowly("prob_avg", each, (1, 1, 1))
        seen.append(mixture.max().log().item())
        return mixture

    greedy_tied(untouched, asked.frame.parts(QUESTIONS[0]), combine, len(answer.token_ids))
    assert answer.logprobs == pytest.approx(seen, abs=1e-4)


def test_an_answer_that_outgrows_the_cache_equals_the_full_recompute(loaded):
    num_tokens = 2 * GROWTH
    asked = ensemble(loaded("llama"), ["flex_attention", "avg"], max_new_tokens=num_tokens)
    asked.stop.eos_token_ids = frozenset()
    untouched, parts = loaded("llama"), asked.frame.parts(QUESTIONS[0])
    answers = {name: tokens(found)[0] for name, found in asked.run(requests()[:1]).items()}
    for step in (0, GROWTH - 1, GROWTH, num_tokens - 1):
        generated = answers["flex_attention"][:step]
        fused = next_logits_fused(untouched, parts, generated, [1 / 3] * 3)
        assert answers["flex_attention"][step] == fused.argmax()
        generated = answers["avg"][:step]
        each = [next_logits_alone(untouched, [*parts.alone(n), *generated]) for n in range(3)]
        assert answers["avg"][step] == sum(each).argmax()

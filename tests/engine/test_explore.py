"""Many continuations of one prompt: the right ones, each prompt and each token computed once."""

from dataclasses import replace

import pytest
import torch
from asking import QUESTIONS, ensemble, tokens

from self_ensemble.asking.request import Request
from self_ensemble.oracle.reference import next_logits_alone
from self_ensemble.walking import loop
from self_ensemble.walking.choose import choose
from self_ensemble.walking.sampling import Sampling

WARM = Sampling(temperature=0.9, top_p=0.95, seed=7)
PROMPTS = [Request(f"p{n}", (wordings[0],)) for n, wordings in enumerate(QUESTIONS)]
STOP = ("a", "e", " ")  # so that answers end at different steps


@pytest.fixture(scope="module", params=[("llama", None), ("mistral", 8), ("gemma2", 8)],
                ids=lambda case: case[0])  # fmt: skip
def model(request, loaded):
    family, window = request.param
    return loaded(family, sliding_window=window)


def _asked(model, **settings):
    return ensemble(model, "per_prompt", **{"stop": STOP, **settings})


def _samples(explored):
    return [tokens(one.samples) for one in explored]


def test_the_greedy_continuation_is_the_answer(model):
    asked = _asked(model)
    answers = asked.run(PROMPTS)["per_prompt"]
    for num_samples in (0, 3):
        explored = asked.explore(PROMPTS, num_samples, WARM)
        assert tokens([one.greedy for one in explored]) == tokens(answers)
        assert [one.greedy.text for one in explored] == [answer.text for answer in answers]
        for one, answer in zip(explored, answers, strict=True):
            assert one.greedy.logprobs == pytest.approx(answer.logprobs, abs=1e-4)


def test_samples_differ_and_a_seed_gives_them_again(model):
    asked = _asked(model)
    found = _samples(asked.explore(PROMPTS, 8, WARM))
    assert found == _samples(asked.explore(PROMPTS, 8, WARM))
    assert found != _samples(asked.explore(PROMPTS, 8, replace(WARM, seed=8)))
    assert all(len({tuple(ids) for ids in one}) > 1 for one in found)


def test_a_sample_depends_on_its_prompt_and_number_alone(model):
    asked = _asked(model)
    together = _samples(asked.explore(PROMPTS, 6, WARM))
    for prompt, expected in zip(PROMPTS, together, strict=True):
        assert _samples(asked.explore([prompt], 6, WARM)) == [expected]
        assert _samples(asked.explore([prompt], 2, WARM)) == [expected[:2]]
        assert _samples(asked.explore([prompt], 6, WARM, greedy=False)) == [expected]
    assert _samples(asked.explore(PROMPTS[::-1], 6, WARM)) == together[::-1]


def test_two_keys_draw_apart_from_one_prompt(model):
    twins = [replace(PROMPTS[0], key=key) for key in ("one", "other")]
    one, other = _samples(_asked(model).explore(twins, 6, WARM))
    assert one != other


@pytest.mark.parametrize("sampling", [WARM, Sampling(temperature=0.6, top_p=0.9, seed=1)])
def test_logprobs_are_the_models_own_under_teacher_forcing(model, loaded, sampling):
    asked = _asked(model)
    family, window = (
        model.model.config.model_type,
        getattr(model.model.config, "sliding_window", 0),
    )
    untouched = loaded(family, sliding_window=None if family == "llama" else window)
    for prompt, explored in zip(PROMPTS[:2], asked.explore(PROMPTS[:2], 4, sampling), strict=True):
        start = asked.frame.parts(prompt.wordings).alone(0)
        torch.testing.assert_close(
            explored.first_logits, next_logits_alone(untouched, start), rtol=1e-3, atol=1e-3
        )
        for answer in (explored.greedy, *explored.samples):
            forced = [
                next_logits_alone(untouched, [*start, *answer.token_ids[:n]]).log_softmax(-1)[
                    token
                ]
                for n, token in enumerate(answer.token_ids)
            ]
            assert answer.logprobs == pytest.approx([float(one) for one in forced], abs=1e-3)


def _histories(explored):
    """Different continuations that were fed to the model: all but their last tokens."""
    fed = set()
    for row, one in enumerate(explored):
        for answer in (one.greedy, *one.samples):
            fed |= {(row, answer.token_ids[:n]) for n in range(1, len(answer.token_ids))}
    return fed


@pytest.mark.parametrize("num_samples", [0, 1, 20])
def test_a_prompt_is_encoded_once_and_every_history_is_computed_once(model, num_samples):
    asked = _asked(model)
    explored = asked.explore(PROMPTS, num_samples, WARM)
    parts = [asked.frame.parts(prompt.wordings) for prompt in PROMPTS]
    counters = asked.counters
    assert counters.prompt_tokens == sum(len(p.segments[0]) + len(p.cue) for p in parts)
    assert counters.prefix_tokens == len(asked.frame.prefix)
    fed = _histories(explored)
    assert counters.decode_tokens == len(fed)
    assert counters.logit_rows == len(PROMPTS) + len(fed)
    steps = {len(history) for _, history in fed}
    # Prefix, prefill, and one pass for each step at which some answer goes on.
    assert counters.forwards == 2 + len(steps)


def test_cold_samples_cost_less_than_their_number(model):
    # Samples that have not parted yet are one: at this temperature most go the greedy way.
    asked = _asked(model, stop=())
    explored = asked.explore(PROMPTS, 50, Sampling(temperature=0.2, seed=3))
    all_tokens = sum(len(a.token_ids) - 1 for one in explored for a in one.samples)
    assert len(_histories(explored)) == asked.counters.decode_tokens < all_tokens / 2


def test_samples_that_have_not_parted_are_drawn_from_one_distribution(model, monkeypatch):
    num_read = []

    def reading(scores, *arguments):
        num_read.append(len(scores))
        return choose(scores, *arguments)

    monkeypatch.setattr(loop, "choose", reading)
    explored = _asked(model).explore(PROMPTS, 20, WARM, greedy=False)
    steps = max(len(answer.token_ids) for one in explored for answer in one.samples)
    histories = [
        {(row, answer.token_ids[:n]) for row, one in enumerate(explored)
         for answer in one.samples if len(answer.token_ids) > n}
        for n in range(steps)
    ]  # fmt: skip
    assert num_read == [len(different) for different in histories]
    assert num_read[0] == len(PROMPTS)


@pytest.mark.parametrize("at_once", [1, 2 * 320])
def test_samples_do_not_depend_on_how_many_distributions_are_looked_at_together(
    model, monkeypatch, at_once
):
    whole = _asked(model).explore(PROMPTS, 9, WARM)
    monkeypatch.setattr(loop, "LOGITS_AT_ONCE", at_once)
    for one, two in zip(whole, _asked(model).explore(PROMPTS, 9, WARM), strict=True):
        assert tokens(one.samples) == tokens(two.samples)
        assert one.greedy.token_ids == two.greedy.token_ids


def test_no_sample_and_no_greedy_one_are_no_answers(model):
    asked = _asked(model)
    for explored in asked.explore(PROMPTS, 0, Sampling(), greedy=False):
        assert explored.greedy is None
        assert explored.samples == ()
        assert explored.first_logits.shape == (model.model.config.vocab_size,)
    assert asked.counters.decode_tokens == 0

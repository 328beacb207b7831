"""What an answer must not depend on: order, neighbours in the batch, methods beside it."""

from itertools import permutations

import pytest
import torch
from asking import METHODS, QUESTIONS, WEIGHTS, ensemble, requests, tokens

from self_ensemble.asking.request import Request
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.prefill import prefill
from self_ensemble.walking.sampling import Sampling

SAMPLING = [Sampling(), Sampling(temperature=1.5, top_p=0.95, seed=3)]
WINDOWED = [("llama", None), ("mistral", 8), ("gemma2", 8)]
# Questions with other numbers of wordings, which go through other passes.
MIXED = (*QUESTIONS, ("Two bridges?", "Are there two of them?"), ("One?",))


def _mixed():
    weights = [*WEIGHTS, (0.4, 0.6), (1.0,)]
    return requests(MIXED, weights)


@pytest.mark.parametrize(("family", "window"), WINDOWED)
def test_order_of_wordings_does_not_change_the_attention_level_answer(loaded, family, window):
    asked = ensemble(loaded(family, sliding_window=window), "flex_attention")
    for wordings in QUESTIONS:
        answers = asked.run(
            [Request(str(n), order) for n, order in enumerate(permutations(wordings))]
        )["flex_attention"]
        assert tokens(answers) == [list(answers[0].token_ids)] * 6


@torch.inference_mode()
def test_order_of_wordings_changes_the_fused_logits_by_rounding_only(loaded):
    asked = ensemble(loaded("llama"), "flex_attention")
    parts = [asked.frame.parts(order) for order in permutations(QUESTIONS[0])]
    layouts = [build_layout(one, segment_weights=[1 / 3] * 3) for one in parts]
    _, frontier = prefill(asked.engine, layouts, asked.prefix())
    logits = frontier.logits_MV
    torch.testing.assert_close(logits, logits[:1].expand_as(logits), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampling", SAMPLING, ids=["greedy", "sampled"])
@pytest.mark.parametrize(("family", "window"), WINDOWED)
def test_an_answer_alone_equals_the_answer_in_a_batch(loaded, family, window, sampling):
    asked = ensemble(loaded(family, sliding_window=window), sampling=sampling)
    together = asked.run(_mixed())
    for n, request in enumerate(_mixed()):
        alone = asked.run([request])
        for method in METHODS:
            assert tokens(alone[method]) == tokens([together[method][n]])
            one, other = alone[method][0].members, together[method][n].members
            assert tokens(one) == tokens(other)


@pytest.mark.parametrize("sampling", SAMPLING, ids=["greedy", "sampled"])
def test_an_answer_does_not_depend_on_the_methods_beside_it(loaded, sampling):
    together = ensemble(loaded("llama"), sampling=sampling).run(_mixed())
    for method in METHODS:
        by_itself = ensemble(loaded("llama"), method, sampling=sampling).run(_mixed())
        assert tokens(by_itself[method]) == tokens(together[method])


def test_order_of_questions_does_not_change_the_answers(loaded):
    asked = ensemble(loaded("llama"), sampling=SAMPLING[1])
    forwards, backwards = asked.run(_mixed()), asked.run(_mixed()[::-1])
    for method in METHODS:
        assert tokens(backwards[method][::-1]) == tokens(forwards[method])


def test_two_requests_of_one_key_get_each_its_own_answer(loaded):
    asked = ensemble(loaded("llama"), "flex_attention")
    one, two = (Request("same", wordings) for wordings in QUESTIONS[:2])
    both = asked.run([one, two])["flex_attention"]
    assert tokens(both) == [
        *tokens(asked.run([one])["flex_attention"]),
        *tokens(asked.run([two])["flex_attention"]),
    ]
    assert both[0] != both[1]


def test_two_ensembles_of_one_model_keep_their_own_backends(loaded):
    model = loaded("llama")
    first = ensemble(model, "avg", attention="sdpa")
    expected = tokens(first.run(requests())["avg"])
    second = ensemble(model, "avg", attention="eager")
    second.run(requests())
    assert model.model.config._attn_implementation == "self_ensemble_written_out"
    assert tokens(first.run(requests())["avg"]) == expected
    assert model.model.config._attn_implementation == "self_ensemble_fused"

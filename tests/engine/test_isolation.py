"""What is not finite is asked again apart, and what is at fault gets its true name."""

import math

import pytest
import torch
from asking import QUESTIONS, ensemble, requests
from test_not_finite import ROW, WARM, WORDING, own_token, poison, texts

from self_ensemble.asking.isolation import EVERY, PRIOR, reason
from self_ensemble.asking.methods import resolve_method
from self_ensemble.asking.request import Request, Unanswered
from self_ensemble.walking.loop import Decoded

METHODS = ["flex_attention", "avg", "per_prompt", "origin"]


def reach_all(model) -> None:
    """Let nan of one token reach all of its pass, as in a block of FlexAttention's."""

    def hook(module, inputs, output):
        return torch.full_like(output, math.nan) if inputs[0].isnan().any() else output

    model.model.lm_head.register_forward_hook(hook)


@pytest.mark.parametrize("decode", ["tree", "captured"])
def test_questions_that_nan_has_reached_are_asked_again_by_themselves(loaded, decode):
    expected = ensemble(loaded("llama"), METHODS, decode=decode).run(requests())
    model = loaded("llama")
    asked = ensemble(model, METHODS, decode=decode)
    poison(model, own_token(asked, expected))
    reach_all(model)
    found = asked.run(requests())
    for method in METHODS:
        assert texts(found[method][::2]) == texts(expected[method][::2])
    assert texts([found["origin"][ROW]]) == texts([expected["origin"][ROW]])
    for place, member in enumerate(found["per_prompt"][ROW].members):
        assert isinstance(member, Unanswered) == (place == WORDING)


def test_prompts_that_nan_has_reached_are_explored_again_by_themselves(loaded):
    prompts = [Request(f"p{n}", (one[WORDING],)) for n, one in enumerate(QUESTIONS)]
    expected = ensemble(loaded("llama"), "per_prompt").explore(prompts, 3, WARM)
    model = loaded("llama")
    asked = ensemble(model, "per_prompt")
    poison(model, own_token(asked, {}))
    reach_all(model)
    for row, found in enumerate(asked.explore(prompts, 3, WARM)):
        if row == ROW:
            assert isinstance(found.greedy, Unanswered)
        else:
            assert texts([found.greedy, *found.samples]) == texts(
                [expected[row].greedy, *expected[row].samples]
            )
            torch.testing.assert_close(found.first_logits, expected[row].first_logits)
    # Where nothing but the first logits is asked for, too.
    for row, found in enumerate(asked.explore(prompts, 0, WARM, greedy=False)):
        assert bool(found.first_logits.amax().isfinite()) == (row != ROW)


REQUEST = Request("q", ("Who?", "Whose?", "Which?"))


def reason_of(method, *not_finite, wording=None):
    """The reason where the model's logits are not finite behind these prompts."""

    def is_finite(request, behind, token_ids):
        assert (request, tuple(token_ids)) in ((REQUEST, (7, 8)), (REQUEST, ()))
        return behind not in not_finite

    decoded = Decoded([7, 8], [-1.0, -1.0])
    return reason(is_finite, resolve_method(method), REQUEST, decoded, wording)


@pytest.mark.parametrize(
    ("method", "not_finite", "blamed"),
    [
        ("avg", (EVERY, 0, 1, 2), "the model gives nan or infinity for every prompt."),
        ("avg", (1,), "the model gives nan or infinity for wording 2, 'Whose?' (avg)."),
        ("avg", (0, 2), "for wording 1, 'Who?', wording 3, 'Which?' (avg)."),
        ("flex_attention", (0, 1, 2), "for every wording (flex_attention)."),
        ("flex_attention", (PRIOR,), "where all wordings are read together (flex_attention)"),
        ("contrast", (PRIOR,), "for the prompt without the question (contrast)."),
        ("contrast", (PRIOR, 0), "for wording 1, 'Who?' (contrast)."),
        ("avg", (PRIOR,), "rule 'avg' makes nan or infinity of finite logits"),
        ("contrast", (), "rule 'contrast' makes nan or infinity of finite logits"),
    ],
)
def test_the_reason_names_what_is_at_fault(method, not_finite, blamed):
    said = reason_of(method, *not_finite)
    assert said.startswith("Token 3 of the answer has no finite score: ")
    assert blamed in said


@pytest.mark.parametrize(
    ("not_finite", "blamed"), [((), "wording 2, 'Whose?'."), ((EVERY,), "every prompt.")]
)
def test_a_wording_that_was_continued_alone_is_at_fault_unless_every_prompt_is(not_finite, blamed):
    assert f"nan or infinity for {blamed}" in reason_of("per_prompt", *not_finite, wording=1)

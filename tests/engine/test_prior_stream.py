"""The stream that reads no wording: the prompt without the question, for `contrast`."""

import pytest
import torch
from asking import PREFIX, QUESTIONS, ensemble, requests, tokens, with_prior

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.asking.request import Request
from self_ensemble.oracle.reference import greedy_tied, next_logits_alone
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.prefill import prefill
from self_ensemble.walking.fusion import contrast

# float32 sums in another order; logits of these models are around 10.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}
WINDOWED = [("llama", None), ("mistral", 8), ("gemma2", 8), ("gpt2", None)]
WEIGHTS = (0.2, 0.5, 0.3)


def _logits(asked, alone, fusion_point, fused=True):
    """Logits of every stream of every question, `(B, K, V)`."""
    layouts = [
        build_layout(
            asked.frame.parts(wordings),
            fused=fused, alone=alone, segment_weights=WEIGHTS, fusion_point=fusion_point,
        )
        for wordings in QUESTIONS
    ]  # fmt: skip
    _, frontier = prefill(asked.engine, layouts, asked.prefix())
    return frontier.logits_MV.unflatten(0, (len(QUESTIONS), -1))


@pytest.mark.parametrize("prefix", [PREFIX, ""], ids=["prefix", "no_prefix"])
@pytest.mark.parametrize("fusion_point", ["cue", "last_segment"])
@pytest.mark.parametrize(("family", "window"), WINDOWED)
@torch.inference_mode()
def test_it_predicts_what_prefix_and_cue_predict_by_themselves(
    loaded, family, window, fusion_point, prefix
):
    asked = ensemble(loaded(family, sliding_window=window), prefix=prefix)
    parts = asked.frame.parts(QUESTIONS[0])
    untouched = loaded(family, sliding_window=window)
    expected = next_logits_alone(untouched, [*parts.prefix, *parts.without_question])
    for fused, alone in ((True, (0, 1, 2, None)), (True, (None, 2)), (False, (None,))):
        found = _logits(asked, alone, fusion_point, fused)[:, int(fused) + alone.index(None)]
        torch.testing.assert_close(found, expected.expand_as(found), **TOLERANCE)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("fusion_point", ["cue", "last_segment"])
@torch.inference_mode()
def test_it_moves_no_other_stream(loaded, fusion_point, backend):
    asked = ensemble(loaded("llama"), attention=backend)
    without = _logits(asked, (0, 1, 2), fusion_point)
    with_it = _logits(asked, (0, 1, 2, None), fusion_point)[:, :4]
    # Five more tokens in the row; what leaks from them would be far above rounding.
    torch.testing.assert_close(with_it, without, rtol=1e-5, atol=1e-4)


# The compiler itself uses what its own library deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@torch.inference_mode()
def test_compiled_flex_gives_it_the_same_logits(loaded):
    found = [
        _logits(ensemble(loaded("llama"), attention=backend), (0, 1, 2, None), "cue")
        for backend in ("flex", "eager")
    ]
    torch.testing.assert_close(*found, **TOLERANCE)


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(
    ("backend", "settings"),
    [
        ("sdpa", {}),
        ("eager", {}),
        ("sdpa", {"fusion_point": "last_segment"}),
        ("sdpa", {"positions": "contiguous"}),
        ("sdpa", {"prefix": ""}),
    ],
)
def test_contrast_of_any_strength_equals_the_full_recompute(loaded, backend, settings, strength):
    methods = resolve_methods(
        ["contrast", "flex_attention"], has_weights=False, contrast_strength=strength
    )
    asked = ensemble(loaded("llama"), methods, attention=backend, **settings)
    answers = asked.run(requests(weights=None))["contrast"]
    for wordings, answer in zip(QUESTIONS, answers, strict=True):
        expected = greedy_tied(
            loaded("llama"),
            with_prior(asked.frame.parts(wordings)),
            lambda each: contrast(torch.stack(each), torch.ones(3), strength),
            len(answer.token_ids),
        )
        assert list(answer.token_ids) == expected


def test_contrast_without_strength_answers_as_the_mean_of_logprobs_does(loaded):
    plain = resolve_methods(["logprob_avg"], has_weights=False)
    none = resolve_methods(["contrast"], has_weights=False, contrast_strength=0.0)
    strong = resolve_methods(["contrast"], has_weights=False, contrast_strength=3.0)
    answers = [
        tokens(ensemble(loaded("llama"), method).run(requests(weights=None))[method[0].name])
        for method in (plain, none, strong)
    ]
    assert answers[0] == answers[1] != answers[2]


def test_a_users_rule_does_not_get_the_prompt_without_the_question(loaded):
    seen = []

    def rule(logits, weights):
        seen.append(logits.shape[-2])
        return logits.mean(dim=-2)

    ensemble(loaded("llama"), [rule, "contrast"]).run(requests())
    assert set(seen) == {len(QUESTIONS[0])}


def test_only_contrast_pays_for_it(loaded):
    def prompt_tokens(methods):
        asked = ensemble(loaded("llama"), methods, max_new_tokens=1)
        asked.run([Request("a", QUESTIONS[0])])
        return asked.counters.prompt_tokens, len(asked.frame.parts(QUESTIONS[0]).without_question)

    plain, cue = prompt_tokens(["flex_attention", "avg", "gated", "min_entropy"])
    with_contrast, _ = prompt_tokens(["flex_attention", "avg", "gated", "min_entropy", "contrast"])
    assert with_contrast == plain + cue

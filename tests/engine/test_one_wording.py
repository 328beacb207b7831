"""One wording is plain generation, and equal wordings are one wording."""

import pytest
from asking import (
    FAMILIES,
    METHODS,
    QUESTIONS,
    TIED,
    ensemble,
    plain_generate,
    requests,
    tokens,
)

# What the prompt says without the question moves contrast's answer, however many wordings.
OWN_ANSWER = [method for method in METHODS if method != "contrast"]
ALONE = [wordings[:1] for wordings in QUESTIONS]
WINDOWED = ("qwen2", "mistral", "gemma2", "gemma3", "phi3")


@pytest.mark.parametrize("fusion_point", ["cue", "last_segment"])
@pytest.mark.parametrize(
    ("family", "window"),
    [(family, None) for family in FAMILIES] + [(family, 8) for family in WINDOWED],
)
def test_one_wording_equals_plain_generate_by_every_method(
    loaded, tiny_model, family, window, fusion_point
):
    asked = ensemble(loaded(family, sliding_window=window), fusion_point=fusion_point)
    answers = asked.run(requests(ALONE, [(1.0,)] * len(ALONE)))
    untouched = tiny_model(family, sliding_window=window)
    expected = [
        plain_generate(untouched, asked.frame.parts(wordings).alone(0), 8) for wordings in ALONE
    ]
    assert {method: tokens(answers[method]) for method in OWN_ANSWER} == dict.fromkeys(
        OWN_ANSWER, expected
    )


@pytest.mark.parametrize("fusion_point", ["cue", "last_segment"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equal_wordings_answer_as_one(loaded, family, fusion_point):
    asked = ensemble(loaded(family), fusion_point=fusion_point)
    four = [wordings * 4 for wordings in ALONE]
    copies = asked.run(requests(four, [(0.1, 0.2, 0.3, 0.4)] * len(ALONE)))
    one = asked.run(requests(ALONE, [(1.0,)] * len(ALONE)))
    for method in METHODS:
        assert tokens(copies[method]) == tokens(one[method])


def test_equal_wordings_without_segment_weights_do_not_answer_as_one(loaded):
    # Each copy counts in full there, so the test above does look at the weights.
    asked = ensemble(loaded("llama"), "flex_attention", segment_weights="none")
    copies = asked.run(requests([wordings * 4 for wordings in ALONE], None))["flex_attention"]
    one = asked.run(requests(ALONE, None))["flex_attention"]
    assert tokens(copies) != tokens(one)


@pytest.mark.parametrize("method", TIED)
def test_every_tied_method_takes_one_token_for_all_wordings(loaded, method):
    answer = ensemble(loaded("llama"), method).run(requests())[method][0]
    assert len(answer.token_ids) == len(answer.logprobs) > 0
    assert answer.members == ()

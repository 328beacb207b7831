"""A trace works for every causal family of transformers that answers at all."""

import pytest
from asking import QUESTIONS, ensemble, ready
from families import WORKS, tiny_family

from self_ensemble.asking.request import Request

METHODS = ("flex_attention", "avg", "vote")


pytestmark = pytest.mark.usefixtures("quiet_transformers")


@pytest.mark.parametrize("family", sorted(WORKS))
def test_what_is_recomputed_of_a_trace_is_what_the_run_saw(family, tiny_tokenizer) -> None:
    loaded = ready(tiny_family(family, tiny_tokenizer), tiny_tokenizer)
    asked = ensemble(loaded, METHODS, max_new_tokens=3)
    request = Request("q", QUESTIONS[0])
    answers = {name: found[0] for name, found in asked.run([request]).items()}
    trace = asked.trace(request, num_top=320)
    for traced in trace.methods:
        answer = answers[traced.method]
        assert tuple(one.token.id for one in traced.tokens) == answer.token_ids
        assert tuple(one.logprob for one in traced.tokens) == answer.logprobs
    for name in ("flex_attention", "avg"):
        (traced,) = [one for one in trace.methods if one.method == name]
        for number, token in zip(traced.steps, traced.tokens, strict=True):
            (seen,) = [one for one in trace.steps[number].methods if one.method == name]
            logprobs = {top.token.id: top.logprob for top in seen.distribution.top}
            assert logprobs[token.token.id] == pytest.approx(token.logprob, abs=2e-3)

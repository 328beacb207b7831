"""Every causal family of the installed transformers is right, or refused for a true reason.

The oracle is transformers' own eager attention, without a cache, one wording at a time, and the
fused tail recomputed in full for every token.
"""

import contextlib
from collections.abc import Sequence

import pytest
import torch
from asking import QUESTIONS, WEIGHTS, ensemble, ready, requests, tokens
from families import (
    REFUSED,
    REFUSED_WHEN_ASKED,
    SPECIAL,
    WORKS,
    families,
    tiny_config,
    tiny_family,
)
from torch import Tensor

from self_ensemble.asking.layout import Streams, request_layouts
from self_ensemble.asking.request import Answer, Request
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.devices import layer_devices
from self_ensemble.models.packed_linear import pack_linears
from self_ensemble.models.support import check_supported
from self_ensemble.oracle.reference import next_logits_alone, next_logits_fused
from self_ensemble.passes.current_pass import current_pass
from self_ensemble.passes.prefill import prefill

NUM_TOKENS = 4
# Rounding of float32 through two layers with weights larger than usual.
TOLERANCE = 2e-3


pytestmark = pytest.mark.usefixtures("quiet_transformers")


def greedy(next_logits, end: int) -> tuple[list[int], list[float]]:
    """Token ids and log-probabilities of an answer, one token after the other."""
    tokens: list[int] = []
    logprobs: list[float] = []
    while len(tokens) < NUM_TOKENS and tokens[-1:] != [end]:
        scores: Tensor = next_logits(tokens).log_softmax(dim=-1)
        tokens.append(int(scores.argmax()))
        logprobs.append(float(scores.max()))
    return tokens, logprobs


def assert_equal(answers: Sequence[Answer], expected: list[tuple[list[int], list[float]]]) -> None:
    assert [list(answer.token_ids) for answer in answers] == [tokens for tokens, _ in expected]
    for answer, (_, logprobs) in zip(answers, expected, strict=True):
        torch.testing.assert_close(
            torch.tensor(answer.logprobs), torch.tensor(logprobs), rtol=0, atol=TOLERANCE
        )


def streamed(one: Ensemble, asked: Sequence[Request]) -> dict[str, list[Answer]]:
    """The answers of a stream that questions join one by one."""
    stream, ended = one.stream(asked[:1]), []
    for request in asked[1:]:
        ended += stream.step()
        stream.join([request])
    ended += [step for steps in stream for step in steps]
    found: dict[str, list[Answer]] = {method.name: [] for method in one.methods}
    for step in sorted(ended, key=lambda step: step.number):
        if step.outcome is not None:
            found[step.method].append(step.outcome)
    return found


def test_every_family_that_transformers_has_is_known_here():
    known = WORKS | REFUSED.keys() | REFUSED_WHEN_ASKED.keys()
    assert sorted(families().keys() - known) == [], "new in transformers: add it to families.py"


@pytest.mark.parametrize("family", sorted(WORKS))
def test_answers_are_those_of_the_models_own_attention(family, tiny_tokenizer):
    model = tiny_family(family, tiny_tokenizer)
    check_supported(model.config, type(model))
    loaded, asked = ready(model, tiny_tokenizer), requests(weights=None)
    methods, end = ("flex_attention", "per_prompt", "origin"), tiny_tokenizer.eos_token_id
    frame = ensemble(loaded, methods).frame
    alone, fused = [], []
    for parts in map(frame.parts, QUESTIONS):
        prompts = [parts.alone(n) for n in range(len(parts.segments))]
        even = [1 / len(prompts)] * len(prompts)
        alone.append([
            greedy(lambda tokens, ids=ids: next_logits_alone(loaded, [*ids, *tokens]), end)
            for ids in prompts
        ])  # fmt: skip
        fused.append(greedy(lambda g, p=parts, w=even: next_logits_fused(loaded, p, g, w), end))
    pack_linears(model)
    assert sum(layer_devices(model).values()) > 0
    one = ensemble(loaded, methods, max_new_tokens=NUM_TOKENS)
    runs = [one.run(asked)], [one.run([single]) for single in asked], [streamed(one, asked)]
    for batches in runs:
        found = {name: [answer for run in batches for answer in run[name]] for name in methods}
        assert_equal(found["origin"], [wordings[0] for wordings in alone])
        assert_equal(found["flex_attention"], fused)
        for answer, expected in zip(found["per_prompt"], alone, strict=True):
            assert_equal(answer.members, expected)


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_refused_families_are_refused_before_weights_are_read(family, tiny_tokenizer):
    config_class, model_class = families()[family]
    config = None
    with contextlib.suppress(Exception):  # what cannot be made small is asked for as it is
        config = tiny_config(family, tiny_tokenizer)
    with pytest.raises(UserError, match=REFUSED[family]):
        check_supported(config or config_class(**SPECIAL.get(family, {})), model_class)


@pytest.mark.parametrize("family", sorted(REFUSED_WHEN_ASKED))
def test_what_only_the_loaded_model_tells_is_refused_when_it_is_asked(family, tiny_tokenizer):
    model = tiny_family(family, tiny_tokenizer)
    asked = ensemble(ready(model, tiny_tokenizer), ("flex_attention", "origin"))
    with pytest.raises(UserError, match=REFUSED_WHEN_ASKED[family]):
        asked.run(requests(weights=None))


# Attention sinks with a window; positions that begin behind the padding's; lost arguments.
@pytest.mark.parametrize("family", ["gpt_oss", "roberta", "stablelm"])
@pytest.mark.parametrize("options", [{"decode": "captured"}, {"attention": "eager"}], ids=str)
def test_what_few_families_have_works_in_every_way_to_decode(family, options, tiny_tokenizer):
    model = tiny_family(family, tiny_tokenizer)
    loaded, methods = ready(model, tiny_tokenizer), ("flex_attention", "avg", "per_prompt")
    asked = requests(QUESTIONS, WEIGHTS)
    expected = ensemble(loaded, methods, max_new_tokens=NUM_TOKENS).run(asked)
    found = ensemble(loaded, methods, max_new_tokens=NUM_TOKENS, **options).run(asked)
    assert current_pass() is None
    for name, answers in expected.items():
        assert_equal(found[name], [(list(one.token_ids), list(one.logprobs)) for one in answers])
    if family == "gpt_oss":
        for name, parameter in model.named_parameters():
            if name.endswith("sinks"):
                parameter.fill_(-1e4)  # no mass
        without = ensemble(loaded, methods, max_new_tokens=NUM_TOKENS, **options).run(asked)
        assert tokens(without["avg"]) != tokens(found["avg"])


def test_sinks_take_their_mass_once_where_the_prefix_is_apart(tiny_tokenizer):
    model = tiny_family("gpt_oss", tiny_tokenizer)
    asked = ensemble(ready(model, tiny_tokenizer), ("flex_attention", "per_prompt"))
    layouts = request_layouts(
        requests(weights=None), asked.methods, Streams.of(asked.methods, 3), asked.frame,
        asked.settings, asked.model,
    )  # fmt: skip
    logits = [
        prefill(asked.engine, layouts, asked.prefix(), in_rows=in_rows)[1].logits_MV
        for in_rows in (True, False)
    ]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_flex_refuses_sinks(tiny_tokenizer):
    model = tiny_family("gpt_oss", tiny_tokenizer)
    asked = ensemble(ready(model, tiny_tokenizer), "avg", attention="flex")
    with pytest.raises(UserError, match="Use --attention sdpa"):
        asked.run(requests())

"""The engine on packed linear layers: the same answers, in passes of rounded lengths."""

from dataclasses import replace

import pytest
import torch
from asking import FAMILIES, METHODS, PREFIX, QUESTIONS, ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.decoding.choose import Sampling
from self_ensemble.decoding.engine import rounded_length
from self_ensemble.decoding.reference import next_logits_fused
from self_ensemble.models.packed_linear import pack_linears, unpack_linears


def on_packed_layers(plain):
    pack_linears(plain.model)
    return replace(plain, packed=True)


# sdpa cannot cap attention scores, which gemma2 needs.
@pytest.mark.parametrize(
    ("family", "attention"),
    [
        (family, attention)
        for family in FAMILIES
        for attention in ("sdpa", "eager")
        if (family, attention) != ("gemma2", "sdpa")
    ],
)
def test_every_method_answers_as_on_plain_layers(loaded, family, attention):
    plain = loaded(family)
    before = ensemble(plain, attention=attention).run(requests())
    after = ensemble(on_packed_layers(plain), attention=attention).run(requests())
    for method in METHODS:
        assert tokens(after[method]) == tokens(before[method]), method
        for one, two in zip(before[method], after[method], strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)


def test_samples_are_those_of_plain_layers(loaded):
    asked = {"sampling": Sampling(temperature=1.0, seed=3)}
    plain = loaded("llama")
    before = ensemble(plain, **asked).run(requests())
    after = ensemble(on_packed_layers(plain), **asked).run(requests())
    assert {m: tokens(a) for m, a in after.items()} == {m: tokens(a) for m, a in before.items()}


def test_the_first_logits_are_those_of_the_oracle(loaded):
    plain = loaded("llama", 6, 2)
    asked = ensemble(on_packed_layers(plain), "flex_attention")
    (answer,) = asked.run(requests(QUESTIONS[:1]))["flex_attention"]
    unpack_linears(plain.model)
    parts = asked.frame.parts(QUESTIONS[0])
    for place, token in enumerate(answer.token_ids):
        logits = next_logits_fused(plain, parts, answer.token_ids[:place], [1 / 3] * 3)
        assert token == int(logits.argmax())


def test_an_answer_does_not_depend_on_the_batch(loaded):
    asked = ensemble(on_packed_layers(loaded("llama")))
    together = asked.run(requests())
    for row, request in enumerate(requests()):
        for method, (answer,) in asked.run([request]).items():
            assert answer.token_ids == together[method][row].token_ids


def test_passes_have_rounded_lengths_and_padding_is_counted_apart(loaded, monkeypatch):
    plain = loaded("llama")
    without = ensemble(plain)
    without.run(requests())
    packed = ensemble(on_packed_layers(plain))
    lengths = []
    original = type(plain.model).forward

    def forward(self, *args, input_ids, **options):
        lengths.append(input_ids.shape[1])
        return original(self, *args, input_ids=input_ids, **options)

    monkeypatch.setattr(type(plain.model), "forward", forward)
    packed.run(requests())
    assert lengths == [rounded_length(length) for length in lengths]
    assert max(lengths) > 32, "no pass is long enough to be rounded"
    before, after = without.counters, packed.counters
    assert before.padding_tokens == 0 < after.padding_tokens
    real = after.prefix_tokens + after.prompt_tokens + after.decode_tokens
    assert sum(lengths) == real + after.padding_tokens
    after.padding_tokens = 0
    assert after == before


def test_a_prefix_alone_is_encoded_in_a_rounded_length(loaded):
    asked = ensemble(on_packed_layers(loaded("llama")), prefix=PREFIX * 2)
    plain = ensemble(loaded("llama"), prefix=PREFIX * 2)
    for one, two in zip(asked.prefix().layers, plain.prefix().layers, strict=True):
        for part, other in zip(one, two, strict=True):
            assert part.shape == other.shape
            torch.testing.assert_close(part, other, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 100_000))
def test_rounded_lengths_are_few_and_near(length):
    rounded = rounded_length(length)
    assert length <= rounded < length * (1 + 1 / 16) + 1
    assert rounded_length(rounded) == rounded


def test_there_are_sixteen_rounded_lengths_between_powers_of_two():
    assert {rounded_length(length) for length in range(1, 33)} == set(range(1, 33))
    for power in range(5, 12):
        low, high = 2**power, 2 ** (power + 1)
        assert len({rounded_length(length) for length in range(low, high)} - {high}) == 16

"""Passes have one of few lengths, and the padding is seen nowhere but in its counter."""

import torch
from asking import PREFIX, ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.passes import batch
from self_ensemble.passes.lengths import flat_bucket, rounded_length


def test_passes_have_rounded_lengths_and_padding_is_counted_apart(loaded, monkeypatch):
    model = loaded("llama")
    lengths = []
    original = type(model.model).forward

    def forward(self, *args, input_ids, **options):
        lengths.append(input_ids.shape[1])
        return original(self, *args, input_ids=input_ids, **options)

    monkeypatch.setattr(type(model.model), "forward", forward)
    rounded = ensemble(model)
    answers = rounded.run(requests())
    assert lengths == [rounded_length(length) for length in lengths]
    assert max(lengths) > 32, "no pass is long enough to be rounded"
    after = rounded.counters
    real = after.prefix_tokens + after.prompt_tokens + after.decode_tokens
    assert sum(lengths) == real + after.padding_tokens

    monkeypatch.setattr(batch, "rounded_length", lambda length: length)
    exact = ensemble(model)
    for method, found in exact.run(requests()).items():
        assert tokens(found) == tokens(answers[method])
    before = exact.counters
    assert before.padding_tokens == 0 < after.padding_tokens
    after.padding_tokens = 0
    assert after == before


def test_a_prefix_alone_is_encoded_in_a_rounded_length(loaded, monkeypatch):
    asked = ensemble(loaded("llama"), prefix=PREFIX * 2)
    rounded = asked.prefix()
    assert asked.counters.padding_tokens > 0
    monkeypatch.setattr(batch, "rounded_length", lambda length: length)
    exact = ensemble(loaded("llama"), prefix=PREFIX * 2).prefix()
    for one, two in zip(rounded.layers, exact.layers, strict=True):
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


@given(st.integers(1, 100_000))
def test_flat_rows_are_whole_blocks_and_less_than_a_third_of_them_is_padding(length):
    bucket = flat_bucket(length)
    assert bucket % 128 == 0
    assert bucket >= length
    assert bucket <= 256 or 3 * (bucket - length) < bucket
    assert flat_bucket(bucket) == bucket


def test_flat_rows_come_in_two_lengths_for_each_power_of_two():
    found = sorted({flat_bucket(length) for length in range(1, 4097)})
    assert found == [128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096]

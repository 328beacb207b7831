"""Logits in kept memory: answers stay, the last step's logits too, and nothing else is written."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from asking import METHODS, QUESTIONS, ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.decoding import kept_logits
from self_ensemble.decoding.batch import advance
from self_ensemble.decoding.choose import Sampling
from self_ensemble.decoding.kept_logits import KeptLogits
from self_ensemble.decoding.prefill import prefill
from self_ensemble.models.packed_linear import ROWS_AT_ONCE, pack_linears
from self_ensemble.packing.layout import build_layout


@pytest.fixture
def packed(loaded):
    plain = loaded("llama")
    pack_linears(plain.model)
    return plain


@pytest.fixture
def given_out(monkeypatch):
    """Where logits were written, for each step of a run whose logits count as large."""
    monkeypatch.setattr(kept_logits, "LARGE", 0)
    places = []
    original = KeptLogits._buffer

    def buffer(self, *arguments):
        found = original(self, *arguments)
        places.append(found.data_ptr())
        return found

    monkeypatch.setattr(KeptLogits, "_buffer", buffer)
    return places


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=3)], ids=str)
def test_answers_are_those_of_logits_in_memory_of_their_own(packed, given_out, sampling):
    kept = ensemble(packed, METHODS, sampling=sampling).run(requests())
    assert len(given_out) > 4
    del given_out[:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_logits, "LARGE", 1 << 40)
        own = ensemble(packed, METHODS, sampling=sampling).run(requests())
    assert not given_out
    for method in METHODS:
        assert tokens(kept[method]) == tokens(own[method]), method
        for one, two in zip(kept[method], own[method], strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-5)


def test_logits_of_a_step_stay_as_they_are_during_the_next(packed, given_out):
    asked = ensemble(packed, "per_prompt")
    layouts = [build_layout(asked.frame.parts(one), alone=range(3)) for one in QUESTIONS]
    batch, frontier = prefill(asked.engine, layouts, asked.prefix())
    nodes = torch.arange(len(frontier.rows_M))
    for step in range(4):
        before = frontier.logits_MV.clone()
        after, _ = advance(batch, frontier, nodes, nodes + step)
        assert torch.equal(frontier.logits_MV, before)
        frontier = after
    first, second, *_ = given_out
    assert given_out == [first, second, first, second]


def test_a_model_of_16_bits_and_plain_layers_have_logits_of_their_own(loaded, packed, given_out):
    ensemble(loaded("llama"), "avg").run(requests())
    ensemble(replace(packed, dtype=torch.bfloat16), "avg").run(requests())
    assert not given_out


def test_what_the_model_is_asked_after_a_step_is_not_written_there(packed, given_out):
    head = packed.model.get_output_embeddings()
    with suppress(torch.OutOfMemoryError), KeptLogits().of_step(packed, 1):
        during = head.output_buffer
        raise torch.OutOfMemoryError
    assert during is not None
    assert head.output_buffer is None


@given(
    shape=st.sampled_from([(1, 1), (1, ROWS_AT_ONCE), (1, ROWS_AT_ONCE + 1), (2, 70), (200,)]),
    seed=st.integers(0, 99),
)
def test_a_packed_layer_writes_to_a_buffer_what_it_gives_without(packed_layer, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(*shape, packed_layer.in_features, generator=generator)
    expected, buffers = packed_layer(inputs), []

    def buffer(num_rows):
        buffers.append(torch.full((num_rows, packed_layer.out_features), torch.nan))
        return buffers[-1]

    packed_layer.output_buffer = buffer
    try:
        outputs = packed_layer(inputs)
    finally:
        packed_layer.output_buffer = None
    assert outputs.data_ptr() == buffers[0].data_ptr()
    torch.testing.assert_close(outputs, expected)


@pytest.fixture(scope="module")
def packed_layer():
    layer = torch.nn.Linear(24, 40).requires_grad_(False)
    holder = torch.nn.Sequential(layer)
    pack_linears(holder)
    return holder[0]

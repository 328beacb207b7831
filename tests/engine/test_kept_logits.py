"""Logits in kept memory: answers stay, and nothing else is written there."""

import threading
from dataclasses import replace

import pytest
import torch
from asking import METHODS, QUESTIONS, ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.models import packed_linear
from self_ensemble.models.packed_linear import pack_linears
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes import kept_logits
from self_ensemble.passes.batch import advance
from self_ensemble.passes.current_pass import one_at_a_time
from self_ensemble.passes.kept_logits import KeptLogits
from self_ensemble.passes.prefill import prefill
from self_ensemble.walking.sampling import Sampling


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
    original = KeptLogits._rows

    def rows(self, *arguments):
        found = original(self, *arguments)
        places.append(found.data_ptr())
        return found

    monkeypatch.setattr(KeptLogits, "_rows", rows)
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


@torch.inference_mode()
def test_all_steps_write_to_one_place_until_more_nodes_need_another(packed, given_out):
    asked = ensemble(packed, "per_prompt")
    layouts = [build_layout(asked.frame.parts(one), alone=range(3)) for one in QUESTIONS]
    batch, frontier = prefill(asked.engine, layouts, asked.prefix())
    nodes = torch.arange(len(frontier.rows_M))
    for num_children in (1, 1, 2, 2, 8):
        walkers = nodes.repeat_interleave(num_children)
        tokens = torch.arange(num_children).repeat(len(nodes))
        frontier, _ = advance(batch, frontier, walkers, tokens)
    first, *_, last = given_out
    assert given_out == [first, first, first, first, last]
    assert first != last


def test_a_model_that_caps_its_logits_stops_keeping_them(loaded, given_out):
    capped = loaded("gemma2")
    before = ensemble(capped, attention="eager").run(requests())
    pack_linears(capped.model)
    asked = ensemble(capped, attention="eager")
    after = asked.run(requests())
    assert len(given_out) == 1
    for method in METHODS:
        assert tokens(after[method]) == tokens(before[method]), method


def test_a_model_of_16_bits_and_plain_layers_have_logits_of_their_own(loaded, packed, given_out):
    ensemble(loaded("llama"), "avg").run(requests())
    ensemble(replace(packed, dtype=torch.bfloat16), "avg").run(requests())
    assert not given_out


def test_what_the_model_is_asked_after_a_step_is_not_written_there(packed, given_out):
    head = packed.model.get_output_embeddings()
    during = []

    def failing():
        during.append(head.output_buffer)
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        KeptLogits().of_step(packed, 1, failing)
    assert during != [None]
    assert head.output_buffer is None


def test_other_threads_make_no_pass_while_outputs_go_to_a_batch(packed, given_out):
    free = []

    def compute():
        lock = one_at_a_time(packed.model)
        other = threading.Thread(target=lambda: free.append(lock.acquire(blocking=False)))
        other.start()
        other.join()
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        KeptLogits().of_step(packed, 1, compute)
    assert free == [False]


@given(
    shape=st.sampled_from([(1, 1), (1, 7), (1, 8), (2, 7), (40,)]),
    at_once=st.sampled_from([1, 7, 1 << 20]),
    seed=st.integers(0, 99),
)
def test_a_packed_layer_writes_to_a_buffer_what_it_gives_without(
    packed_layer, shape, at_once, seed
):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(*shape, packed_layer.in_features, generator=generator)
    expected, buffers = packed_layer(inputs), []

    def buffer(num_rows):
        buffers.append(torch.full((num_rows, packed_layer.out_features), torch.nan))
        return buffers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_layer, "output_buffer", buffer)
        patch.setattr(packed_linear, "BYTES_AT_ONCE", at_once * 4 * packed_layer.out_features)
        outputs = packed_layer(inputs)
    assert outputs.data_ptr() == buffers[0].data_ptr()
    torch.testing.assert_close(outputs, expected)


@pytest.fixture(scope="module")
def packed_layer():
    layer = torch.nn.Linear(24, 40).requires_grad_(False)
    holder = torch.nn.Sequential(layer)
    pack_linears(holder)
    return holder[0]

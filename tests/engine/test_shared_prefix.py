"""The prefix is held once and read by all questions, with the outcome of a copy in every row."""

import pytest
import torch
from asking import FAMILIES, METHODS, PREFIX, ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.decoding import engine
from self_ensemble.decoding.packed_pass import PackedPass
from self_ensemble.decoding.partial_attention import HIDDEN, fused_part, merged, plain_part
from self_ensemble.packing.layout import build_layout

NEVER = 1 << 40
WINDOWED = [("mistral", 8), ("gemma3", 8), ("mistral", 40)]


@pytest.mark.parametrize("attention", ["auto", "eager"])
@pytest.mark.parametrize(("family", "window"), [*((name, None) for name in FAMILIES), *WINDOWED])
def test_answers_are_those_of_a_prefix_in_every_row(
    loaded, monkeypatch, family, window, attention
):
    model = loaded(family, sliding_window=window)
    once = ensemble(model, attention=attention)
    found = once.run(requests())
    monkeypatch.setattr(engine, "SHARED_FROM", NEVER)
    copied = ensemble(model, attention=attention)
    expected = copied.run(requests())
    for method in METHODS:
        assert tokens(found[method]) == tokens(expected[method]), method
        for one, two in zip(found[method], expected[method], strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
    assert once.counters.decode_tokens == copied.counters.decode_tokens


@pytest.mark.parametrize("in_rows", [False, True])
def test_a_longer_prefix_takes_no_memory_of_a_batch(loaded, monkeypatch, in_rows):
    monkeypatch.setattr(engine, "SHARED_FROM", NEVER if in_rows else 1)
    held = []
    for prefix in (PREFIX, 4 * PREFIX):
        asked = ensemble(loaded("llama"), "avg", prefix=prefix)
        parts = [asked.frame.parts(one.wordings) for one in requests()]
        layouts = [build_layout(part, fused=False, alone=range(3)) for part in parts]
        batch, _ = asked.engine.prefill(layouts, asked.prefix())
        held.append(batch.cache.num_bytes())
    assert (held[0] == held[1]) is not in_rows


def _attention(query, key, value, mask, scale):
    """Softmax attention, one head and one query at a time."""
    output = torch.zeros(*query.shape[:3], value.shape[-1])
    heads_a_key = query.shape[1] // key.shape[1]
    for row, head, place in torch.ones(query.shape[:3]).nonzero().tolist():
        keys, values = key[row, head // heads_a_key], value[row, head // heads_a_key]
        scores = keys @ query[row, head, place] * scale + mask[row, 0, place]
        output[row, head, place] = scores.softmax(dim=0) @ values
    return output


@given(
    sizes=st.tuples(*(st.integers(1, 4) for _ in range(4))),
    num_keys=st.integers(2, 9),
    data=st.data(),
)
def test_two_parts_make_the_whole(sizes, num_keys, data):
    num_rows, num_kv_heads, heads_a_key, num_queries = sizes
    seed = data.draw(st.integers(0, 1 << 30))
    cut = data.draw(st.integers(1, num_keys - 1))
    attend = data.draw(st.sampled_from([fused_part, lambda *of: plain_part(*of, None)]))
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return 3 * torch.randn(shape, generator=draw)

    query = normal(num_rows, num_kv_heads * heads_a_key, num_queries, 8)
    key, value = (normal(num_rows, num_kv_heads, num_keys, 8) for _ in range(2))
    hidden = torch.rand(num_rows, 1, num_queries, num_keys, generator=draw) < 0.4
    hidden[..., -1] = False  # a query reads itself
    mask = torch.zeros(hidden.shape).masked_fill(hidden, HIDDEN)
    parts = [
        attend(query, key[:, :, at], value[:, :, at], mask[..., at], 0.4)
        for at in (slice(0, cut), slice(cut, None))
    ]
    expected = _attention(query, key, value, mask, 0.4)
    torch.testing.assert_close(merged(*parts), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(merged(*parts[::-1]), expected, rtol=1e-4, atol=1e-5)


def test_a_window_hides_the_prefix_that_lies_behind_it(loaded):
    """The counter tells that a mask was made."""
    near, far = (
        ensemble(loaded("mistral", sliding_window=window), "avg", max_new_tokens=4)
        for window in (4096, 8)
    )
    for asked in (near, far):
        asked.stop.eos_token_ids = frozenset()
        asked.run(requests())
    forwards = near.counters.forwards
    assert far.counters.forwards == forwards
    # One of the rows in every pass, and one of the prefix in every pass behind it.
    assert near.counters.masks == forwards
    assert far.counters.masks == 2 * forwards - 1


@pytest.mark.parametrize(("position", "hidden"), [(7, None), (8, [0]), (9, [0, 1])])
def test_the_mask_of_a_prefix_begins_where_the_window_ends(position, hidden):
    one = torch.zeros(1, dtype=torch.long)
    prefix = [(torch.zeros(5, 1, 4), torch.zeros(5, 1, 4))]
    seen = PackedPass(one, one, one + 1, prefix, query_positions_T=one + position)
    mask = seen.prefix_mask(8, torch.zeros(1))
    found = None if mask is None else (mask[0, 0, 0] == HIDDEN).nonzero()[:, 0].tolist()
    assert found == hidden

"""The prefix is held once and read by all questions, with the outcome of a copy in every row."""

import pytest
import torch
from asking import FAMILIES, METHODS, PREFIX, QUESTIONS, ensemble, ready, requests, tokens
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, DeepseekV3Config, JetMoeConfig

from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import greedy_fused, greedy_tied
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.packed_pass import PackedPass
from self_ensemble.passes.partial_attention import HIDDEN, fused_part, merged, plain_part
from self_ensemble.passes.prefill import prefill

NEVER = 1 << 40
SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "pad_token_id": 0,
    "initializer_range": 0.3,
}  # fmt: skip
# Keys and values that are cached small and made large at every pass, and keys that are tiled.
REMADE = [
    DeepseekV3Config(
        **SIZES, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=16, q_lora_rank=24,
        qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, n_routed_experts=4,
        num_experts_per_tok=2, n_group=1, topk_group=1, moe_intermediate_size=32,
        first_k_dense_replace=1,
    ),
    JetMoeConfig(
        **SIZES, num_key_value_heads=2, kv_channels=16, num_local_experts=4, num_experts_per_tok=2
    ),
]  # fmt: skip
WINDOWED = [("mistral", 8), ("gemma3", 8), ("mistral", 40)]


@pytest.mark.parametrize("attention", ["auto", "eager"])
@pytest.mark.parametrize(("family", "window"), [*((name, None) for name in FAMILIES), *WINDOWED])
def test_answers_are_those_of_a_prefix_in_every_row(
    loaded, monkeypatch, family, window, attention
):
    model = loaded(family, sliding_window=window)
    once = ensemble(model, attention=attention)
    found = once.run(requests())
    assert once.prefix().readable_apart
    monkeypatch.setattr("self_ensemble.passes.prefill.SHARED_FROM", NEVER)
    copied = ensemble(model, attention=attention)
    expected = copied.run(requests())
    for method in METHODS:
        assert tokens(found[method]) == tokens(expected[method]), method
        for one, two in zip(found[method], expected[method], strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
    assert once.counters.decode_tokens == copied.counters.decode_tokens


@pytest.mark.parametrize("in_rows", [False, True])
def test_a_longer_prefix_takes_no_memory_of_a_batch(loaded, monkeypatch, in_rows):
    monkeypatch.setattr("self_ensemble.passes.prefill.SHARED_FROM", NEVER if in_rows else 1)
    held = []
    for prefix in (PREFIX, 4 * PREFIX):
        asked = ensemble(loaded("llama"), "avg", prefix=prefix)
        parts = [asked.frame.parts(one.wordings) for one in requests()]
        layouts = [build_layout(part, fused=False, alone=range(3)) for part in parts]
        batch, _ = prefill(asked.engine, layouts, asked.prefix())
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
    mask = seen.prefix_mask(8, torch.device("cpu"), torch.float32)
    found = None if mask is None else (mask[0, 0, 0] == HIDDEN).nonzero()[:, 0].tolist()
    assert found == hidden


@pytest.mark.parametrize("decode", ["tree", "captured"])
@pytest.mark.parametrize(("family", "window"), [("llama", None), ("mistral", 8)])
@pytest.mark.usefixtures("prefix_in_rows")
def test_answers_of_copies_in_every_row_are_those_of_the_full_recompute(
    loaded, family, window, decode
):
    """The way of GPUs, against the oracle itself."""
    model = loaded(family, sliding_window=window)
    asked = ensemble(model, ["flex_attention", "avg", "per_prompt"], decode=decode)
    answers = asked.run(requests())
    untouched = loaded(family, sliding_window=window)
    for place, wordings in enumerate(QUESTIONS):
        parts = asked.frame.parts(wordings)
        length = len(answers["flex_attention"][place].token_ids)
        expected = greedy_fused(untouched, parts, [1 / 3] * 3, length)
        assert list(answers["flex_attention"][place].token_ids) == expected
        length = len(answers["avg"][place].token_ids)
        expected = greedy_tied(untouched, parts, lambda each: sum(each) / 3, length)
        assert list(answers["avg"][place].token_ids) == expected


@pytest.mark.parametrize("config", REMADE, ids=lambda config: config.model_type)
def test_a_model_that_makes_keys_anew_from_its_cache_keeps_the_prefix_in_the_rows(
    config, tiny_tokenizer
):
    """Its answers are the oracle's; steps of fixed shape, which cannot do that, are refused."""
    config.vocab_size = len(tiny_tokenizer)
    torch.manual_seed(0)
    model, untouched = (
        AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=name)
        for name in ("sdpa", "eager")
    )
    untouched.load_state_dict(model.state_dict())
    asked = ensemble(ready(model.eval().requires_grad_(False), tiny_tokenizer), ["avg"])
    found = asked.run(requests())["avg"]
    assert not asked.prefix().readable_apart
    teacher = ready(untouched.eval().requires_grad_(False), tiny_tokenizer)
    for wordings, answer in zip(QUESTIONS, found, strict=True):
        parts, length = asked.frame.parts(wordings), len(answer.token_ids)
        expected = greedy_tied(teacher, parts, lambda each: sum(each) / 3, length)
        assert list(answer.token_ids) == expected
    with pytest.raises(UserError, match="has cached, which steps of fixed shape cannot do"):
        ensemble(asked.model, ["avg"], decode="captured").run(requests())


# The compiler itself uses what its own library deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("attention", ["sdpa", "flex"])
def test_what_a_layer_got_from_the_cache_is_not_kept_after_it_was_read(loaded, attention):
    asked = ensemble(loaded("llama"), "avg", attention=attention)
    parts = [asked.frame.parts(one.wordings) for one in requests()]
    layouts = [build_layout(part, fused=False, alone=range(3)) for part in parts]
    batch, _ = prefill(asked.engine, layouts, asked.prefix())
    assert batch.cache.stored == {}
    assert batch.reads_rows

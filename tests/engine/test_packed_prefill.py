"""The packed prefill against each wording alone in transformers' own eager model."""

import pytest
import torch
from asking import QUESTIONS, ensemble
from transformers import DynamicCache

from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.cache import GROWTH
from self_ensemble.passes.prefill import prefill

# float32 sums in another order; logits of these models are around 10.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}
GQA = [(4, 4), (4, 2), (3, 1), (7, 1)]
WINDOWED = [("llama", None), ("mistral", 8), ("qwen2", 8)]


def _alone(model, token_ids):
    """Keys, values (each `(layers, T, Hkv, D)`) and last logits of an ordinary sequence."""
    cache = DynamicCache()  # without the configuration it keeps what is behind a window
    logits = model(input_ids=torch.tensor([token_ids]), past_key_values=cache).logits[0, -1]
    layers = [(layer.keys[0], layer.values[0]) for layer in cache.layers]
    keys, values = (torch.stack(part).transpose(1, 2) for part in zip(*layers, strict=True))
    return keys, values, logits


def _prefill(asked, questions, **options):
    """Layouts, and of the prefill keys, values `(layers, B, S, Hkv, D)` and `(B, K, V)` logits.

    The prefix, which is held once, is put in front of every row.
    """
    layouts = [
        build_layout(asked.frame.parts(wordings), alone=range(len(wordings)), **options)
        for wordings in questions
    ]
    batch, frontier = prefill(asked.engine, layouts, asked.prefix())
    keys, values = torch.stack(batch.cache.keys), torch.stack(batch.cache.values)
    if asked.frame.prefix:
        layers = zip(*asked.prefix().layers, strict=True)
        keys, values = (
            torch.cat([torch.stack(one)[:, None].expand(-1, len(questions), -1, -1, -1), rows], 2)
            for one, rows in zip(layers, (keys, values), strict=True)
        )
    return layouts, keys, values, frontier.logits_MV.unflatten(0, (len(questions), -1))


def _slots_of(layout, asked, group):
    start = len(asked.frame.prefix)
    return [start + n for n, owner in enumerate(layout.groups) if owner == group]


def _check_each_alone(asked, teacher):
    prefix_length = len(asked.frame.prefix)
    layouts, keys, values, logits = _prefill(asked, QUESTIONS)
    for row, wordings in enumerate(QUESTIONS):
        parts = asked.frame.parts(wordings)
        for n, segment in enumerate(parts.segments):
            alone_keys, alone_values, alone_logits = _alone(teacher, parts.alone(n))
            segment_slots = _slots_of(layouts[row], asked, n + 1)
            cue_slots = _slots_of(layouts[row], asked, layouts[row].alone[n].group)
            slots = [*range(prefix_length), *segment_slots, *cue_slots]
            assert len(segment_slots) == len(segment)
            torch.testing.assert_close(keys[:, row, slots], alone_keys, **TOLERANCE)
            torch.testing.assert_close(values[:, row, slots], alone_values, **TOLERANCE)
            torch.testing.assert_close(logits[row, 1 + n], alone_logits, **TOLERANCE)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize(("family", "window"), WINDOWED)
@pytest.mark.parametrize(("num_heads", "num_kv_heads"), GQA)
@torch.inference_mode()
def test_packed_prefill_equals_each_wording_alone(
    loaded, tiny_model, backend, family, window, num_heads, num_kv_heads
):
    asked = ensemble(loaded(family, num_heads, num_kv_heads, window), attention=backend)
    teacher = tiny_model(family, num_heads, num_kv_heads, window)
    teacher.set_attn_implementation("eager")
    _check_each_alone(asked, teacher)


# The compiler itself uses what its own library deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(
    ("family", "num_heads", "num_kv_heads", "window"),
    [("llama", 3, 1, None), ("mistral", 4, 2, 8), ("gemma2", 4, 2, 8)],
)
@torch.inference_mode()
def test_compiled_flex_prefill_equals_each_wording_alone(
    loaded, tiny_model, family, num_heads, num_kv_heads, window
):
    asked = ensemble(loaded(family, num_heads, num_kv_heads, window), attention="flex")
    teacher = tiny_model(family, num_heads, num_kv_heads, window)
    teacher.set_attn_implementation("eager")
    _check_each_alone(asked, teacher)
    # The same compiled kernel, now with weights on the fused stream.
    weights = {"segment_weights": (0.2, 0.5, 0.3)}
    flex_logits = _prefill(asked, QUESTIONS, **weights)[3]
    other = ensemble(loaded(family, num_heads, num_kv_heads, window), attention="eager")
    torch.testing.assert_close(flex_logits, _prefill(other, QUESTIONS, **weights)[3], **TOLERANCE)
    # A token that no prompt has is not in the padding either.
    asked.model.model.get_input_embeddings().weight[0] = torch.nan
    again = _prefill(asked, QUESTIONS, **weights)[3]
    assert torch.equal(again[:, 1:], flex_logits[:, 1:])


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize(("family", "window"), WINDOWED)
@torch.inference_mode()
def test_changing_one_wording_leaves_the_others_bit_equal(loaded, backend, family, window):
    asked = ensemble(loaded(family, sliding_window=window), attention=backend)
    before, after = list(QUESTIONS[0]), list(QUESTIONS[0])
    after[1] = after[1].replace("w", "t").replace("e", "i")
    parts = [asked.frame.parts(wordings) for wordings in (before, after)]
    length = min(len(one.segments[1]) for one in parts)
    # Equal lengths, so that every kernel adds up in the same order.
    layouts, cached, logits = [], [], []
    for one in parts:
        cut = (one.segments[0], one.segments[1][:length], one.segments[2])
        layout = build_layout(type(one)(one.prefix, cut, one.cue), alone=range(3))
        batch, frontier = prefill(asked.engine, [layout], asked.prefix())
        layouts.append(layout)
        cached.append(torch.stack([*batch.cache.keys, *batch.cache.values])[:, 0])
        assert cached[-1].shape[1] == GROWTH, "the prefix is not in the rows"
        logits.append(frontier.logits_MV)
    for n in (0, 2):
        slots = [slot for slot, owner in enumerate(layouts[0].groups) if owner == n + 1]
        assert torch.equal(cached[0][:, slots], cached[1][:, slots])
        assert torch.equal(logits[0][1 + n], logits[1][1 + n])
    changed = [slot for slot, owner in enumerate(layouts[0].groups) if owner == 2]
    assert not torch.equal(cached[0][:, changed], cached[1][:, changed])
    assert not torch.equal(logits[0][0], logits[1][0])


@torch.inference_mode()
def test_prefill_without_a_prefix_equals_each_wording_alone(loaded, tiny_model):
    asked = ensemble(loaded("llama"), prefix="")
    assert asked.frame.prefix == ()
    _check_each_alone(asked, tiny_model("llama"))

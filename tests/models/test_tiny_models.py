"""The tiny models that the other tests ask are what those tests take them for."""

import pytest
import torch

FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "gpt2", "phi3"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_next_token_of_a_tiny_model_depends_on_the_text(tiny_model, tiny_tokenizer, family):
    model = tiny_model(family)
    texts = [
        "The river is wide.",
        "The river is slow.",
        "Q: Who wrote it?",
        "Q: What is it?",
        "Seven old bridges",
    ]
    last_tokens = {
        int(model(input_ids=torch.tensor([tiny_tokenizer(text).input_ids])).logits[0, -1].argmax())
        for text in texts
    }
    assert len(last_tokens) >= 3


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3"])
def test_a_sliding_window_hides_the_first_token_in_the_end(tiny_model, family):
    ids_BL = torch.arange(20, 44)[None]
    other_BL = ids_BL.clone()
    other_BL[0, 0] = 99
    full = tiny_model(family)
    assert not torch.equal(
        full(input_ids=ids_BL).logits[0, 1], full(input_ids=other_BL).logits[0, 1]
    )
    windowed = tiny_model(family, sliding_window=4)
    layers_see = [
        layer_type == "sliding_attention"
        for layer_type in getattr(windowed.config, "layer_types", [])
    ]
    if any(layers_see):
        assert layers_see == [True, False, True]
        assert windowed.config.sliding_window == 4
    else:
        # Three windows of 4 reach back 9 positions.
        one, two = windowed(input_ids=ids_BL).logits[0], windowed(input_ids=other_BL).logits[0]
        assert torch.equal(one[10:], two[10:])
        assert not torch.equal(one[9], two[9])


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(4, 4), (4, 2), (3, 1), (7, 1)])
def test_a_tiny_model_has_the_gqa_ratio_that_was_asked_for(tiny_model, num_heads, num_kv_heads):
    layer = tiny_model("llama", num_heads, num_kv_heads).model.layers[0].self_attn
    assert layer.q_proj.out_features == 16 * num_heads
    assert layer.k_proj.out_features == 16 * num_kv_heads


def test_the_same_seed_gives_the_same_tiny_model(tiny_model):
    one, two, other = tiny_model("llama"), tiny_model("llama"), tiny_model("llama", seed=1)
    assert torch.equal(one.lm_head.weight, two.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_only_the_bos_tokenizer_adds_a_bos(tiny_tokenizer, tiny_tokenizer_bos):
    plain, with_bos = tiny_tokenizer("Ünï 猫").input_ids, tiny_tokenizer_bos("Ünï 猫").input_ids
    assert with_bos == [tiny_tokenizer_bos.bos_token_id, *plain]
    assert tiny_tokenizer.decode(plain) == "Ünï 猫"

"""A backend or an architecture that cannot run stops with the reason."""

import pytest
import torch
from asking import QUESTIONS, ensemble, ready, requests
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    DogeConfig,
    PhimoeConfig,
    Qwen2MoeConfig,
)

from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.support import check_supported
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.attention import PackedPass, attention_name, sdpa
from self_ensemble.passes.prefill import prefill

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 3,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "moe_intermediate_size": 32}


def _other(config, tokenizer, attention="eager"):
    config.vocab_size = len(tokenizer)
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=attention
    )
    return ready(model.eval().requires_grad_(False), tokenizer)


def test_sdpa_on_a_model_with_softcap_is_refused(loaded):
    with pytest.raises(UserError, match="--attention sdpa cannot run model type 'gemma2'"):
        Ensemble(loaded("gemma2"), attention="sdpa")


def test_the_sdpa_function_itself_refuses_a_softcap():
    one = torch.ones(1, 2, 3, 16)
    packed = PackedPass(torch.zeros(3, dtype=torch.long), torch.arange(3), torch.tensor([3]))
    with pytest.raises(UserError, match="cannot cap attention scores"):
        sdpa(one, one, one, packed, layer=0, scale=1.0, window=None, softcap=50.0, sinks_H=None)


def test_an_unknown_backend_is_refused_with_the_nearest(loaded):
    with pytest.raises(UserError, match="Did you mean 'sdpa'"):
        Ensemble(loaded("llama"), attention="spda")


@pytest.mark.parametrize("config", [BloomConfig(hidden_size=64, n_head=4, n_layer=2)])
def test_alibi_is_refused(config):
    model_class = AutoModelForCausalLM._model_mapping[type(config)]
    with pytest.raises(UserError, match="'bloom' is not supported: ALiBi"):
        check_supported(config, model_class)


@pytest.mark.parametrize(
    "config",
    [
        Qwen2MoeConfig(**SIZES, **EXPERTS, use_sliding_window=True, sliding_window=8),
        PhimoeConfig(**SIZES, num_local_experts=4, sliding_window=8),
    ],
    ids=lambda config: config.model_type,
)
def test_a_window_that_does_not_reach_the_attention_function_is_refused(config, tiny_tokenizer):
    asked = ensemble(_other(config, tiny_tokenizer), "flex_attention")
    with pytest.raises(UserError, match="has a sliding window and does not tell"):
        asked.run(requests(weights=None))


def test_the_same_family_without_a_window_answers(tiny_tokenizer):
    config = Qwen2MoeConfig(**SIZES, **EXPERTS)
    asked = ensemble(_other(config, tiny_tokenizer), "flex_attention")
    assert len(asked.run(requests(weights=None))["flex_attention"]) == len(QUESTIONS)


def test_a_model_that_makes_a_mask_of_its_own_is_refused(tiny_tokenizer):
    asked = ensemble(_other(DogeConfig(**SIZES), tiny_tokenizer), "flex_attention")
    with pytest.raises(UserError, match="an attention mask of its own"):
        asked.run(requests(weights=None))


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_the_backend_that_was_asked_for_is_the_one_that_runs(loaded, backend):
    asked = ensemble(loaded("llama"), "avg", attention=backend)
    asked.run(requests())
    assert asked.engine.backend == backend
    assert asked.model.model.config._attn_implementation == attention_name(backend)


@torch.inference_mode()
def test_sdpa_and_eager_give_the_same_logits(loaded):
    found = []
    for backend in ("sdpa", "eager"):
        asked = ensemble(loaded("llama", 3, 1), attention=backend)
        layouts = [
            build_layout(asked.frame.parts(w), alone=range(3), segment_weights=(0.2, 0.5, 0.3))
            for w in QUESTIONS
        ]
        found.append(prefill(asked.engine, layouts, asked.prefix())[1].logits_MV)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)

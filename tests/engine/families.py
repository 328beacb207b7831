"""Every causal family of transformers as a tiny random model, and what is known of it."""

from functools import cache

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

VOCABULARY = 320  # of the tiny tokenizer
# What families call the things that make a model large; each takes what it knows.
SIZES: dict[str, object] = {
    "vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY,
    "pronunciation_vocab_size": VOCABULARY, "shape_vocab_size": VOCABULARY,
    "pronunciation_embed_dim": 8, "shape_embed_dim": 8, "hidden_size_per_layer_input": 8,
    "hidden_size": 32, "intermediate_size": 32, "ffn_hidden_size": 32, "decoder_ffn_dim": 32,
    "encoder_ffn_dim": 32, "dff": 32, "dim_ff": 32, "num_hidden_layers": 2, "decoder_layers": 2,
    "encoder_layers": 2, "num_layers_per_stack": 2, "num_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_attention_heads": 4, "swa_num_attention_heads": 4,
    "num_key_value_heads": 2, "num_kv_heads": 2, "swa_num_key_value_heads": 2, "head_dim": 8,
    "swa_head_dim": 8, "swa_v_head_dim": 8, "swa_rope_head_dim": 8, "rotary_dim": 4,
    "query_pre_attn_scalar": 8, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8, "qk_head_dim": 16, "v_head_dim": 8, "max_position_embeddings": 512,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4,
    "num_experts_per_tok": 2, "moe_topk": 2, "moe_k": 2, "zero_expert_num": 1, "n_group": 1,
    "topk_group": 1, "moe_intermediate_size": 16, "expert_ffn_hidden_size": 16,
    "shared_expert_intermediate_size": 16, "shared_intermediate_size": 16,
    "first_k_dense_replace": 1, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8,
    # Layers with a window have a small one.
    "sliding_window": 16, "use_sliding_window": True, "max_window_layers": 0,
    # Larger than usual, so that a random model's answer depends on the question.
    "initializer_range": 0.3, "init_std": 0.3, "tie_word_embeddings": False,
}  # fmt: skip
DECODER = {"is_decoder": True}
BOTH = ["sliding_attention", "full_attention"]
LATENT = {"num_key_value_heads": 4}  # heads of their own from one latent vector
SHARED_KV = {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": 2 * BOTH}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
# What a family needs beside: an encoder that is a decoder, a hybrid without recurrent layers, ...
SPECIAL: dict[str, dict[str, object]] = {
    "afmoe": {"layer_types": BOTH},
    "bamba": {"attn_layer_indices": [0, 1]},
    "bert": DECODER, "bert-generation": DECODER, "camembert": DECODER, "data2vec-text": DECODER,
    "electra": DECODER, "ernie": DECODER, "roberta": DECODER, "roberta-prelayernorm": DECODER,
    "roc_bert": DECODER, "xlm-roberta": DECODER, "xlm-roberta-xl": DECODER,
    "xmod": {**DECODER, "default_language": "en_XX"},
    "axk1": LATENT, "deepseek_v2": LATENT, "deepseek_v3": LATENT, "glm4_moe_lite": LATENT,
    "longcat_flash": LATENT, "minicpm3": LATENT, "youtu": LATENT,
    "cohere_compass_text": {
        "layer_types": BOTH,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in BOTH},
    },
    "dbrx": {
        "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "dots1": {
        "num_key_value_heads": 4, "n_routed_experts": 4, "n_shared_experts": 1,
        "num_experts_per_tok": 2,
    },
    "gemma3n_text": {
        **SHARED_KV, "intermediate_size": [32] * 4, "activation_sparsity_pattern": [0.0] * 4,
        "laurel_rank": 4,
    },
    "gemma4_text": {**SHARED_KV, "global_head_dim": 8},
    "gemma4_unified_text": {**SHARED_KV, "global_head_dim": 8},
    "gemma4_assistant": {
        "text_config": {
            "model_type": "gemma4_text", "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
        },
    },
    "git": {"vision_config": VISION},
    "granitemoehybrid": {"layer_types": ["attention"] * 2},
    "jamba": {"attn_layer_period": 1, "attn_layer_offset": 0},
    "lfm2_moe": {"layer_types": ["full_attention"] * 2},
    "phi4_multimodal": {
        "vision_config": VISION,
        "audio_config": {
            "hidden_size": 32, "intermediate_size": 32, "num_blocks": 1, "num_attention_heads": 4,
        },
    },
    "phimoe": {"sliding_window": None},
}  # fmt: skip


@cache
def families() -> dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]]:
    """Every model type that transformers has a causal language model for."""
    found = {}
    for config_class, classes in MODEL_FOR_CAUSAL_LM_MAPPING.items():
        model_class = classes[0] if isinstance(classes, tuple) else classes
        # Code that came with a model registers itself, too.
        if config_class.__module__.startswith("transformers."):
            found[config_class.model_type] = (config_class, model_class)
    return found


def tiny_config(family: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """A family's configuration for a model of some ten thousand weights."""
    config_class, _ = families()[family]
    known = {**config_class().to_dict(), **config_class.attribute_map}
    ids = {
        name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    sizes = {name: size for name, size in {**SIZES, **ids}.items() if name in known}
    return config_class(**{**sizes, **SPECIAL.get(family, {})})


def tiny_family(family: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A random model of a family, float32 on the CPU."""
    _, model_class = families()[family]
    config = tiny_config(family, tokenizer)
    attention = "sdpa" if model_class._supports_sdpa else "eager"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class._from_config(
            config, dtype=torch.float32, attn_implementation=attention
        )
    return model.eval().requires_grad_(False)


_WORKS = """
    afmoe apertus arcee aria_text axk1 bamba beam bert bert-generation biogpt bitnet camembert
    cohere cohere2 cohere2_moe cohere_compass_text ctrl cwm data2vec-text dbrx deepseek_v2
    deepseek_v3 dots1 electra ernie ernie4_5 ernie4_5_moe exaone4 exaone_moe flex_olmo flint gemma
    gemma2 gemma3_text gemma3n_text gemma4_text gemma4_unified_text glm glm4 glm4_moe
    glm4_moe_lite gpt2 gpt_bigcode gpt_neox gpt_oss granite granite_swa granitemoe granitemoe_swa
    granitemoehybrid granitemoeshared helium hunyuan_v1_dense hunyuan_v1_moe hy_v3 hyperclovax
    internlm3 iquestcoder jais2 jamba jetmoe kolibri1 laguna lfm2 lfm2_moe llama longcat_flash
    mellum mimo_v2_flash minicpm3 minimax_m2 minimax_m3_vl_text ministral ministral3 mistral
    mixtral modernbert-decoder nanochat nemotron olmo olmo2 olmo3 olmoe opt persimmon phi phi3
    phi4_multimodal phimoe qwen2 qwen2_moe qwen3 qwen3_moe roberta roberta-prelayernorm roc_bert
    seed_oss smollm3 solar_open stablelm starcoder2 vaultgemma xlm-roberta xlm-roberta-xl xmod
    youtu
    """
WORKS = frozenset(_WORKS.split())
# Beginning of the reason to the families that are refused for it.
_REFUSED = {
    "its sparse attention chooses": """
        axk2 deepseek_v32 deepseek_v4 dots3_note dots3_note_text glm_moe_dsa hy_v4 qwen4_exp""",
    "it is recurrent": """
        bailing_hybrid falcon_h1 falcon_mamba inkling2_text inkling_text kimi_linear lfm3 mamba
        mamba2 minimax nemotron_h olmo_hybrid qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text
        qwen3_next qwen4_exp_text recurrent_gemma rwkv xlstm zamba zamba2 zaya""",
    "it is an encoder-decoder": """
        bart bigbird_pegasus blenderbot blenderbot-small marian mbart musicgen musicgen_melody mvp
        pegasus plbart prophetnet whisper""",
    "it reads in both directions": "big_bird megatron-bert reformer rembert roformer xlm",
    "ALiBi ties": "bloom mpt",
    "computes attention in code of its own": """
        codegen cpmant falcon gpt_neo gpt_neox_japanese gptj openai-gpt trocr xglm xlnet""",
    "it is a wrapper for images or sound": """
        emu3 fuyu gemma3 gemma3n gemma4 gemma4_unified got_ocr2 mllama moss_transcribe_diarize""",
    "it drafts tokens for another model": "gemma4_assistant gemma4_unified_assistant",
    "it groups the bytes of a text": "blt",
    "chunked attention": "llama4 llama4_text",
}
REFUSED = {family: reason for reason, names in _REFUSED.items() for family in names.split()}
# Only the loaded model tells.
REFUSED_WHEN_ASKED = {
    "diffllama": "calls the attention function more than once",
    "doge": "makes an attention mask of its own",
    "git": "called the attention function in 0 of 2 layers",
    "hrm_text": "calls the attention function more than once",
    "moshi": "has a sliding window and does not tell",
}

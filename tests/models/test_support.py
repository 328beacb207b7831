import pytest
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from self_ensemble.errors import UserError
from self_ensemble.models.support import (
    attention_backends,
    check_supported,
    choose_backend,
    context_length,
)

CPU = torch.device("cpu")


def causal_lm_class(config):
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return None
    found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return found[0] if isinstance(found, tuple) else found


def check(config_name, **settings):
    config = getattr(transformers, config_name)(**settings)
    check_supported(config, causal_lm_class(config))


@pytest.mark.parametrize(
    "config_name",
    [
        "LlamaConfig",
        "Qwen2Config",
        "Qwen3Config",
        "MistralConfig",
        "Gemma2Config",
        "Gemma3TextConfig",
        "GPT2Config",
        "Phi3Config",
    ],
)
def test_decoders_with_full_or_sliding_attention_are_accepted(config_name):
    check(config_name)


@pytest.mark.parametrize(
    ("config_name", "settings", "model_type", "reason"),
    [
        ("T5Config", {}, "t5", "encoder-decoder"),
        ("BartConfig", {}, "bart", "encoder-decoder"),
        ("MambaConfig", {}, "mamba", "recurrent"),
        ("RwkvConfig", {}, "rwkv", "recurrent"),
        ("JambaConfig", {}, "jamba", "recurrent"),
        ("RecurrentGemmaConfig", {}, "recurrent_gemma", "recurrent"),
        ("Qwen3NextConfig", {}, "qwen3_next", "recurrent"),
        ("Lfm2Config", {"layer_types": ["conv"] * 32}, "lfm2", "recurrent"),
        ("BloomConfig", {}, "bloom", "ALiBi"),
        ("MptConfig", {}, "mpt", "ALiBi"),
        ("FalconConfig", {"alibi": True}, "falcon", "ALiBi"),
        ("FalconConfig", {}, "falcon", "attention in code of its own"),
        ("GPTNeoConfig", {}, "gpt_neo", "attention in code of its own"),
        ("BertGenerationConfig", {}, "bert-generation", "both directions"),
        (
            "BartConfig",
            {"is_decoder": True, "is_encoder_decoder": False},
            "bart",
            "takes no position_ids",
        ),
        (
            "GraniteMoeHybridConfig",
            {"layer_types": ["attention", "mamba"] * 16},
            "granitemoehybrid",
            "recurrent",
        ),
        ("Llama4TextConfig", {}, "llama4_text", "chunked attention"),
        ("Gemma3Config", {}, "gemma3", "text-only checkpoint"),
        ("BertConfig", {}, "bert", "both directions"),
        ("Gemma3TextConfig", {"use_bidirectional_attention": True}, "gemma3_text", "directions"),
        ("LlamaConfig", {"is_causal": False}, "llama", "both directions"),
        ("ViTConfig", {}, "vit", "no causal language model"),
    ],
)
def test_what_cannot_work_is_refused_by_name_with_the_reason(
    config_name, settings, model_type, reason
):
    with pytest.raises(UserError, match=f"'{model_type}' is not supported: .*{reason}") as error:
        check(config_name, **settings)
    assert "\n" not in str(error.value)


def test_the_reason_that_needs_no_class_comes_first():
    with pytest.raises(UserError, match="encoder-decoder"):
        check_supported(transformers.T5Config(), None)


@pytest.mark.parametrize(
    ("config_name", "settings"),
    [
        ("Gemma2Config", {"attn_logit_softcapping": None}),
        ("GraniteMoeHybridConfig", {"layer_types": ["attention"] * 32}),
        ("BioGptConfig", {}),
        ("StableLmConfig", {}),
        ("GptOssConfig", {}),
        ("RobertaConfig", {"is_decoder": True}),
        ("BertGenerationConfig", {"is_decoder": True}),
    ],
)
def test_a_model_is_not_refused_for_what_others_of_its_family_have(config_name, settings):
    check(config_name, **settings)


LONGROPE = {
    "rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8,
    "rope_theta": 10000.0, "original_max_position_embeddings": 64,
}  # fmt: skip


def test_longrope_answers_as_far_as_one_set_of_factors_reaches():
    config = transformers.Phi3Config(
        hidden_size=64, num_attention_heads=4, max_position_embeddings=256,
        rope_parameters=LONGROPE, original_max_position_embeddings=64,
    )  # fmt: skip
    assert context_length(config) == 64
    layers = transformers.LlamaConfig(max_position_embeddings=256)
    layers.rope_parameters = {"full_attention": LONGROPE, "sliding_attention": {}}
    assert context_length(layers) == 64


def test_by_default_sdpa_runs_what_it_can_compute_and_eager_the_softcapped():
    assert choose_backend("auto", transformers.LlamaConfig(), CPU) == "sdpa"
    assert choose_backend("auto", transformers.Gemma2Config(), CPU) == "eager"
    assert (
        choose_backend("auto", transformers.Gemma2Config(attn_logit_softcapping=None), CPU)
        == "sdpa"
    )


@pytest.mark.parametrize("config", [transformers.LlamaConfig(), transformers.Gemma2Config()])
def test_every_backend_that_is_offered_can_be_chosen(config):
    for backend in attention_backends(config):
        assert choose_backend(backend, config, CPU) == backend


def test_sdpa_for_a_softcapped_model_is_refused_with_what_works():
    with pytest.raises(UserError, match=r"softcapped.*--attention eager or flex"):
        choose_backend("sdpa", transformers.Gemma2Config(), CPU)


def test_flex_on_mps_is_refused():
    with pytest.raises(UserError, match=r"cannot run on mps.*Use --attention sdpa"):
        choose_backend("flex", transformers.LlamaConfig(), torch.device("mps"))


def test_an_unknown_backend_names_the_nearest():
    with pytest.raises(UserError, match=r"Unknown attention backend 'spda'. Did you mean 'sdpa'"):
        choose_backend("spda", transformers.LlamaConfig(), CPU)


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (transformers.LlamaConfig(max_position_embeddings=77), 77),
        (transformers.GPT2Config(n_positions=55), 55),
        (transformers.MambaConfig(), None),
    ],
)
def test_the_context_length_is_read_under_every_name(config, length):
    assert context_length(config) == length

"""What makes the passes of a model: PyTorch, or one OpenVINO graph on a CPU.

An engine is chosen by name and never by itself. Whatever one cannot do is refused with what can:
no layer, type or device is exchanged in silence.
"""

from importlib.util import find_spec

from transformers import PreTrainedConfig

from self_ensemble.errors import UserError, unknown_name

ENGINES = ("torch", "openvino")
# Model types whose layers the graph knows, with the class of each.
FAMILIES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
}
ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh")
ANOTHER_MODEL = "Choose another model"


def check_engine(
    engine: str, device: str, dtype: str, attention: str | None, packed: bool | None
) -> None:
    """Refuse what the engine cannot do, before a model is looked for.

    Raises:
        UserError: There is no such engine, its package is missing, or it cannot do that.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine == "torch" and dtype == "int8":
        raise UserError(
            "--dtype int8 rounds weights to 8 bits, which --engine torch does not. Give --engine "
            "openvino, or another --dtype.",
            "SE-0407",
        )
    if engine == "torch":
        return
    if find_spec("openvino") is None:
        raise UserError(
            "--engine openvino needs openvino, which is not installed. "
            'Run: pip install "self-ensemble[openvino]"',
            "SE-0015",
        )
    if device not in ("auto", "cpu"):
        raise refusal(f"runs on the CPU, and --device is {device}", "Leave --device out")
    if dtype not in ("auto", "float32", "bfloat16", "int8"):
        raise refusal(
            f"computes in float32, bfloat16 or int8, and --dtype is {dtype}", "Give one of these"
        )
    if attention not in (None, "auto"):
        check_backend(attention)
    if packed:
        raise refusal("packs weights itself, and packed=True was given", "Leave packed out")


def check_backend(attention: str) -> None:
    """Refuse an attention backend that the graph does not have.

    Raises:
        UserError: It is another than OpenVINO's scaled dot product attention.
    """
    if attention != "sdpa":
        raise refusal(
            f"has attention of its own, and --attention is {attention}", "Leave --attention out"
        )


def check_family(config: PreTrainedConfig, name: str) -> None:
    """Refuse a model whose layers the graph does not know.

    Raises:
        UserError: It is of another family, or has something that the family rarely has.
    """
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise refusal(
            f"knows the layers of {known}, and model {name!r} is of type {config.model_type!r}",
            ANOTHER_MODEL,
        )
    if config.hidden_act not in ACTIVATIONS:
        raise refusal(
            f"has no activation {config.hidden_act!r}, which model {name!r} has", ANOTHER_MODEL
        )


def refusal(reason: str, remedy: str) -> UserError:
    """What says why the graph cannot do something."""
    return UserError(f"--engine openvino {reason}. {remedy}, or use --engine torch.", "SE-0407")

"""Where transformers reads a model's files: quietly, and in one line if it fails."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_logging

from self_ensemble.errors import UserError, is_out_of_memory, reading
from self_ensemble.models import support
from self_ensemble.models.devices import Placement
from self_ensemble.models.sanity import REMEDY, compute_once


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's files on this machine: a folder, and the .gguf file in it if it is one."""

    folder: Path
    gguf: str | None = None

    def options(self) -> dict[str, str]:
        """What `from_pretrained` needs beside the folder."""
        return {} if self.gguf is None else {"gguf_file": self.gguf}


def load_config(files: ModelFiles, name: str, trust_remote_code: bool) -> PreTrainedConfig:
    """Read a model's configuration."""
    with reading_quietly(name, "configuration"):
        return AutoConfig.from_pretrained(
            files.folder, trust_remote_code=trust_remote_code, **files.options()
        )


def check_supported(
    config: PreTrainedConfig, files: ModelFiles, name: str, trust_remote_code: bool
) -> str:
    """Refuse what cannot work; returns the library's attention to load it with.

    Ours takes over at the first answer.
    """
    # What a configuration holds may be of any type.
    with reading_quietly(name, "configuration"):
        model_class = _causal_lm_class(config, files, trust_remote_code)
        support.check_supported(config, model_class)
    return "sdpa" if model_class is not None and model_class._supports_sdpa else "eager"


def _causal_lm_class(
    config: PreTrainedConfig, files: ModelFiles, trust_remote_code: bool
) -> type[PreTrainedModel] | None:
    """The class that the weights will be loaded into, or None if there is none."""
    own_code = (getattr(config, "auto_map", None) or {}).get("AutoModelForCausalLM")
    if trust_remote_code and own_code is not None:
        remote_class: type[PreTrainedModel] = get_class_from_dynamic_module(own_code, files.folder)
        return remote_class
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return None
    # Some families have several classes; the first is the one that is loaded.
    found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model_class: type[PreTrainedModel] = found[0] if isinstance(found, tuple) else found
    return model_class


def load_tokenizer(
    files: ModelFiles, name: str, trust_remote_code: bool
) -> PreTrainedTokenizerBase:
    """Read a model's tokenizer."""
    with reading_quietly(name, "tokenizer"):
        return AutoTokenizer.from_pretrained(
            files.folder, trust_remote_code=trust_remote_code, **files.options()
        )


def load_weights(
    files: ModelFiles,
    config: PreTrainedConfig,
    name: str,
    placement: Placement,
    dtype: torch.dtype,
    trust_remote_code: bool,
    own_attention: str,
) -> PreTrainedModel:
    """Read a model's weights, all of which must be there, and compute with them once.

    Args:
        files: Where they are.
        config: The model's configuration.
        name: What the model is called, for messages.
        placement: Where the weights go.
        dtype: Their type.
        trust_remote_code: Whether Python code that comes with the model may run.
        own_attention: The library's attention to load it with; see `check_supported`.

    Raises:
        UserError: They cannot be read, do not fit the configuration or the memory.
    """
    device_map = "auto" if placement.spread else {"": placement.device}
    options: dict[str, object] = dict(files.options())
    if files.gguf is not None:
        # Ordinary float weights: faster to load and to run than unpacking at every use.
        options["quantization_config"] = GgufConfig(dequantize=True)
    with reading_quietly(name, "weights"):
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                files.folder,
                config=config,
                dtype=dtype,
                device_map=None if placement.device.type == "cpu" else device_map,
                attn_implementation=own_attention,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                # Checked below, by name: the library's own error points to a report.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not is_out_of_memory(error):
                raise
            raise UserError(
                f"Model {name!r} does not fit into the memory of {placement.device}. Take a "
                "smaller model, --dtype bfloat16, more GPUs, or --device cpu.",
                "SE-0308",
            ) from error
    # Either would be filled with random numbers.
    unfit = sorted(info["missing_keys"] | {key for key, *_ in info["mismatched_keys"]})
    if unfit:
        raise UserError(
            f"The weights of model {name!r} do not fit its config.json: {len(unfit)} tensors are "
            f"missing or of another shape, first {unfit[0]}. Download or convert it again.",
            "SE-0305",
        )
    model = model.eval().requires_grad_(False)
    with reading_quietly(name, "weights"):
        compute_once(model)
    return model


@contextmanager
def reading_quietly(name: str, part: str) -> Iterator[None]:
    """Read a file with the library, quietly, and turn what it raises into one line."""
    with _quiet(), reading(f"the {part} of model {name!r}", REMEDY):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars and reports off the screen while a model loads.

    What matters in the reports, missing weights, is checked by us.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    stderr = io.StringIO()
    try:
        # The library's own switch does not reach its bar for GGUF tensors.
        with redirect_stderr(stderr):
            yield
    finally:
        lines = stderr.getvalue().splitlines()
        sys.stderr.writelines(f"{line}\n" for line in lines if line.strip() and "%|" not in line)
        transformers_logging.set_verbosity(verbosity)

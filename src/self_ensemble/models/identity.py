"""What a model is, by content: everything of it that an answer depends on, and no more.

    config.rope_parameters.rope_theta    the loaded configuration, key by key
    generation_config.eos_token_id       what ends an answer
    weights.model.safetensors            each file of weights, every byte
    tokenizer.model                      the loaded tokenizer, part by part
    chat_template
    code.modules.modeling_mine           Python code that came with the model

Configuration and tokenizer are taken as they are in memory: a change that was made there counts,
and one of a file's spelling does not.
"""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from self_ensemble.errors import reading
from self_ensemble.identity.files import digest_of, digest_of_json, read_files
from self_ensemble.identity.leaves import tensor_digest
from self_ensemble.identity.sources import code_of
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.packed_linear import PackedLinear

# Of a configuration: where it came from and what wrote it, heads that are not there, and the type
# of the weights, which the manifest has under its own name.
NO_SETTINGS = frozenset(
    {
        *("_name_or_path", "_model_name_or_path", "_commit_hash", "transformers_version"),
        *("architectures", "auto_map", "dtype", "torch_dtype", "return_dict"),
        *("id2label", "label2id", "problem_type"),
    }
)
# Of a tokenizer's options: places, what the parts below hold, and what only training or padding
# notices.
NO_OPTIONS = frozenset(
    {
        *(
            "name_or_path",
            "tokenizer_file",
            "vocab_file",
            "merges_file",
            "special_tokens_map_file",
        ),
        *("is_local", "local_files_only", "backend", "tokenizer_class", "auto_map"),
        *("chat_template", "added_tokens_decoder", "extra_special_tokens", "tokenizer_object"),
        *("add_bos_token", "add_eos_token", "model_max_length", "padding_side", "truncation_side"),
    }
)
# Of a fast tokenizer's state: what other calls leave behind.
NO_STATE = frozenset({"version", "truncation", "padding"})


# Libraries that answers, or the columns made from them, depend on.
LIBRARIES = ("self-ensemble", "torch", "transformers", "tokenizers", "simplemma")


def versions(loaded: LoadedModel | None) -> dict[str, str]:
    """Versions of Python and of the libraries that the answers of a model depend on."""
    unpacked = loaded is not None and loaded.source.kind in ("gguf", "packaged")
    names = (*LIBRARIES, "gguf") if unpacked else LIBRARIES
    if loaded is not None and loaded.engine != "torch":
        names = (*names, loaded.engine)
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def identity_of(loaded: LoadedModel) -> dict[str, object]:
    """What the answers of a loaded model depend on; see `model_identity`."""
    return model_identity(loaded.model, loaded.tokenizer, loaded.files)


def model_identity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    files: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """What a model's answers depend on.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        files: Digests of the files that its weights were read from; None digests the tensors.

    Returns:
        JSON with a name for each part, of the same content wherever the model lies.
    """
    generation = getattr(model, "generation_config", None)
    return {
        "model_class": type(model).__name__,
        "config": _settings(model.config.to_dict()),
        "generation_config": {"eos_token_id": _ids(getattr(generation, "eos_token_id", None))},
        "weights": dict(files) if files is not None else _tensors(model),
        "tokenizer": _tokenizer(tokenizer),
        "chat_template": _digest_or_none(tokenizer.chat_template),
        "code": _code(model, model.config, tokenizer),
    }


def _code(*objects: object) -> dict[str, object] | None:
    """The user's own code, and code that came with the model; None where all is installed."""
    code = code_of({kind.__module__ for one in objects for kind in type(one).__mro__})
    modules = {_lasting(name): digest for name, digest in code.modules.items()}
    modules.pop("", None)
    return {"modules": modules, "packages": code.packages} if modules else None


def _lasting(name: str) -> str:
    """A module's name without the place that transformers copied it to, "" for that place."""
    parts = name.split(".")
    return ".".join(parts[3:]) if parts[0] == "transformers_modules" else name


def _settings(config: Mapping[str, Any]) -> dict[str, object]:
    return {
        name: _settings(value) if isinstance(value, dict) else value
        for name, value in _as_json(config).items()
        if name not in NO_SETTINGS
    }


def _as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are in a manifest, where infinity (a limit that is none) is a text."""
    found: dict[str, Any] = json.loads(json.dumps(options, default=str), parse_constant=str)
    return found


def _ids(given: int | list[int] | None) -> list[int] | None:
    return sorted([given] if isinstance(given, int) else given) if given is not None else None


def _tensors(model: nn.Module) -> dict[str, object]:
    """Of a model that was made in memory; packed layers are digested as they were before."""
    own = {f"{name}.weight": module.weight for name, module in model.named_modules()
           if isinstance(module, PackedLinear)}  # fmt: skip
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), **own}
    parts = {name: tensor_digest(tensor) for name, tensor in tensors.items()}
    return {"tensors": digest_of_json(parts)}


def _tokenizer(tokenizer: Any) -> dict[str, object]:
    options = {
        name: value
        for name, value in tokenizer.init_kwargs.items()
        if name not in NO_OPTIONS and not name.endswith("_token")
    }
    return {
        "class": type(tokenizer).__name__,
        "special_tokens": {name: str(one) for name, one in tokenizer.special_tokens_map.items()},
        "clean_up_tokenization_spaces": bool(tokenizer.clean_up_tokenization_spaces),
        "options": _as_json(options),
        **_state(tokenizer),
    }


def _state(tokenizer: Any) -> dict[str, object]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return _state_in_python(tokenizer)
    # The model, vocabulary and merges, comes last and is most of it: not worth parsing.
    rest, _, model = backend.to_str().partition(',"model":{')
    assert model, "no model in the tokenizer's state"
    return {
        "model": digest_of(model),
        **{
            name: _digest_or_none(part)
            for name, part in json.loads(f"{rest}}}").items()
            if name not in NO_STATE
        },
    }


def _state_in_python(tokenizer: Any) -> dict[str, object]:
    """Of a tokenizer that is written in Python: what it would save, merges or pieces, too."""
    added = {number: repr(token) for number, token in tokenizer.added_tokens_decoder.items()}
    with TemporaryDirectory() as folder:
        with reading("the tokenizer", "It has to save its vocabulary."):
            tokenizer.save_vocabulary(folder)
        files = {path.name: path for path in Path(folder).iterdir()}
        return {
            "vocabulary": digest_of_json(tokenizer.get_vocab()),
            "added_tokens": digest_of_json(added),
            "files": {name: file.digest for name, file in read_files(files).items()},
        }


def _digest_or_none(value: object) -> str | None:
    if isinstance(value, str):
        return digest_of(value)
    return None if value is None else digest_of_json(value)

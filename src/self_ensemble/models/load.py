"""Loading a model: find it, check it, then read tokenizer and weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from self_ensemble.errors import UserError
from self_ensemble.identity.files import (
    OnBytes,
    ReadFile,
    digest_of_json,
    read_files,
    require_unchanged,
)
from self_ensemble.models import hub, support
from self_ensemble.models.aliases import DEFAULT_MODEL, ModelSource, resolve
from self_ensemble.models.devices import resolve_device, resolve_dtype
from self_ensemble.models.engines import check_engine, check_family
from self_ensemble.models.folder import check_tokenizer, read_config, weight_files
from self_ensemble.models.gguf import is_whole, unpack, unpacked_folder
from self_ensemble.models.library import (
    ModelFiles,
    check_supported,
    load_config,
    load_tokenizer,
    load_weights,
    reading_quietly,
)
from self_ensemble.models.openvino_passes import Graph
from self_ensemble.models.packed_linear import can_pack, pack_linears, release_file
from self_ensemble.models.sanity import check_sizes, check_tokens


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to be asked; on a CPU its linear layers may be packed.

    Attributes:
        name: What it is called in tables and result folders.
        model: The causal language model, in evaluation mode, without gradients.
        tokenizer: Its tokenizer.
        source: Where it was found.
        revision: Commit of a hub model; a digest of the weights of a local one.
        device: Where its input goes.
        dtype: Type of its weights.
        attention: The attention backend to run it with: "sdpa", "flex" or "eager".
        has_chat_template: Whether the tokenizer knows how a conversation is written.
        context_length: Longest sequence, in positions; None if the model names none.
        files: Digest of each file that the weights were read from, in full; None for a model that
            was made in memory.
        graph: Its passes as an OpenVINO graph; None where PyTorch makes them.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: ModelSource
    revision: str
    device: torch.device
    dtype: torch.dtype
    attention: str
    has_chat_template: bool
    context_length: int | None
    files: Mapping[str, str] | None = None
    graph: Graph | None = None

    @property
    def engine(self) -> str:
        """What makes its passes, by name."""
        return "torch" if self.graph is None else "openvino"


@dataclass(frozen=True, slots=True)
class ModelWithoutWeights:
    """What prompts need of a model: enough to lay a question out, not to ask it.

    Attributes:
        name: What it is called in tables and result folders.
        config: Its configuration.
        tokenizer: Its tokenizer.
        has_chat_template: Whether the tokenizer knows how a conversation is written.
    """

    name: str
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    has_chat_template: bool


def load_without_weights(
    name: str = DEFAULT_MODEL, *, trust_remote_code: bool = False, aliases: Path | None = None
) -> ModelWithoutWeights:
    """Load a model's configuration and tokenizer; no weight is downloaded or loaded.

    Args:
        name: Alias, hub id "owner/name", folder, or .gguf file.
        trust_remote_code: Whether Python code that comes with the model may run.
        aliases: TOML file with the user's own aliases.

    Raises:
        UserError: The model cannot be found, is not supported, or cannot be read.
    """
    source = resolve(name, aliases)
    files = _settings(source, None, trust_remote_code)
    if files.gguf is not None and (files.folder / files.gguf).is_file():
        # A copy that is there is read twenty times faster; none is made, for it has the weights.
        folder = unpacked_folder(files.folder / files.gguf)
        files = ModelFiles(folder) if folder is not None and is_whole(folder) else files
    config = load_config(files, source.name, trust_remote_code)
    check_supported(config, files, source.name, trust_remote_code)
    tokenizer = load_tokenizer(files, source.name, trust_remote_code)
    return ModelWithoutWeights(source.name, config, tokenizer, bool(tokenizer.chat_template))


def load_model(
    name: str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    attention: str | None = None,
    engine: str = "torch",
    trust_remote_code: bool = False,
    aliases: Path | None = None,
    revision: str | None = None,
    packed: bool | None = None,
    on_bytes: OnBytes = lambda done, total: None,
) -> LoadedModel:
    """Load a causal language model and its tokenizer.

    The configuration is checked before any weight is downloaded or read.

    Args:
        name: Alias, hub id "owner/name", folder, or .gguf file.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto" (bfloat16 on CUDA, else float32), "float32", "bfloat16", "float16", or "int8"
            (of the OpenVINO engine: weights of linear layers rounded to 8 bits, and what goes in).
        attention: "sdpa", "flex" or "eager"; None or "auto" for the model's default.
        engine: "torch", or "openvino": passes as one OpenVINO graph, on a CPU.
        trust_remote_code: Whether Python code that comes with the model may run.
        aliases: TOML file with the user's own aliases.
        revision: Branch, tag or commit of a hub model.
        packed: Whether to pack linear layers for the CPU: faster, and for inference only, as
            packed layers cannot be saved or moved; None wherever it can be done.
        on_bytes: Called with the bytes done and their number while weights are digested, which
            is done once for a large file as long as it stays as it is.

    Raises:
        UserError: The model cannot be found, is not supported, or cannot be read; or packing or
            an engine is asked for where it cannot be done.
    """
    check_engine(engine, device, dtype, attention, packed)
    by_graph = engine == "openvino"
    source = resolve(name, aliases)
    if revision is not None and source.kind != "hub":
        raise UserError(
            f"Revision {revision!r} was given, but model {name!r} is a local {source.kind}. "
            "Only hub models have revisions.",
            "SE-0012",
        )
    placement = resolve_device("cpu" if by_graph else device)
    torch_dtype = resolve_dtype(dtype, placement.device)
    packable = can_pack(placement.device, torch_dtype)
    if packed and not packable:
        raise UserError(
            f"Linear layers of type {str(torch_dtype).removeprefix('torch.')} cannot be packed on "
            f"{placement.device}. Leave out packed=True.",
            "SE-0310",
        )
    given = _settings(source, revision, trust_remote_code)
    files = _unpacked(given, source.name, on_bytes)
    config = load_config(files, source.name, trust_remote_code)
    own_attention = check_supported(config, files, source.name, trust_remote_code)
    if by_graph:
        check_family(config, source.name)
    backend = support.choose_backend(attention or "auto", config, placement.device)
    tokenizer = load_tokenizer(files, source.name, trust_remote_code)
    weight_paths = _weights(source, given)
    check_sizes(config, weight_paths.values(), source.name)
    weights = read_files(weight_paths, on_bytes)
    # The graph rounds them itself, from what they are.
    read_as = torch.float32 if torch_dtype == torch.int8 else torch_dtype
    model = load_weights(
        files, config, source.name, placement, read_as, trust_remote_code, own_attention
    )
    require_unchanged(weights.values())
    check_tokens(tokenizer, model, source.name)
    if packable and packed is not False and not by_graph:
        pack_linears(model)
        release_file(model)
    return LoadedModel(
        name=source.name,
        model=model,
        tokenizer=tokenizer,
        source=source,
        revision=_revision(source, given, weights),
        device=placement.device,
        dtype=torch_dtype,
        attention=backend,
        has_chat_template=bool(tokenizer.chat_template),
        context_length=support.context_length(config, model),
        files={name: file.digest for name, file in weights.items()},
        graph=_graph(model, torch_dtype, source.name) if by_graph else None,
    )


def _graph(model: PreTrainedModel, dtype: torch.dtype, name: str) -> Graph:
    # Here, not above: the package may not be there.
    from self_ensemble.models.openvino_load import make_graph

    return make_graph(model, dtype, name)


def _revision(source: ModelSource, files: ModelFiles, weights: Mapping[str, ReadFile]) -> str:
    if source.kind == "hub":
        # The hub's cache names a folder after its commit.
        return files.folder.name
    return digest_of_json({name: file.digest for name, file in weights.items()})


def _settings(source: ModelSource, revision: str | None, trust_remote_code: bool) -> ModelFiles:
    """Find the configuration and the tokenizer, without the weights."""
    if source.kind in ("gguf", "packaged"):
        path = Path(source.location)
        return ModelFiles(path.parent, path.name)
    if source.kind == "folder":
        folder = Path(source.location)
    else:
        patterns = hub.SETTINGS + (hub.CODE if trust_remote_code else ())
        folder = hub.fetch(source.location, revision, patterns)
    raw = read_config(folder, source.name)
    is_native = str(raw.get("model_type")) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if "auto_map" in raw and not is_native and not trust_remote_code:
        raise UserError(
            f"Model {source.name!r} brings Python code of its own. Read it, and if you trust it, "
            "give --trust-remote-code.",
            "SE-0307",
        )
    check_tokenizer(folder, source.name)
    return ModelFiles(folder)


def _unpacked(files: ModelFiles, name: str, on_bytes: OnBytes) -> ModelFiles:
    """A GGUF file's unpacked copy, made where there is none and the architecture is supported."""
    if files.gguf is None:
        return files
    file = files.folder / files.gguf
    folder = unpacked_folder(file, on_bytes) if file.is_file() else None
    if folder is None:
        return files
    if not is_whole(folder):
        config = load_config(files, name, trust_remote_code=False)
        check_supported(config, files, name, trust_remote_code=False)
        check_sizes(config, [file], name)
        with reading_quietly(name, "weights"):
            if not unpack(file, folder):
                return files
    return ModelFiles(folder)


def _weights(source: ModelSource, files: ModelFiles) -> dict[str, Path]:
    """Make sure that the weights are on this machine; gives the files by name.

    A GGUF file stands for itself, whatever it is called and whether or not an unpacked copy of it
    is read.
    """
    if files.gguf is not None:
        return {"gguf": files.folder / files.gguf}
    if source.kind == "hub":
        # The commit that the configuration came from, should the branch move meanwhile.
        hub.fetch(source.location, files.folder.name, hub.WEIGHTS)
    return {path.name: path for path in weight_files(files.folder, source.name)}

"""What must lie in a model's folder before it is worth loading."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from self_ensemble.errors import UserError, reading
from self_ensemble.questions.reading import read_bytes

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
    "*.tiktoken",
)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_config(folder: Path, name: str) -> Mapping[str, object]:
    """Read a model folder's config.json.

    Args:
        folder: The model's folder.
        name: What the user called it, for the messages.

    Raises:
        UserError: There is none, or it is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        gguf = sorted(folder.glob("*.gguf"))
        hint = (
            f"Give the file itself: {gguf[0]}."
            if gguf
            else "Merge the adapter into its base model first."
            if (folder / "adapter_config.json").is_file()
            else "Give a folder written by save_pretrained, or a .gguf file."
        )
        raise UserError(f"Model {name!r} has no config.json in {folder}. {hint}", "SE-0303")
    content = read_bytes(path)
    with reading(f"{path} of model {name!r}", "It must be a JSON object. Download it again."):
        config = json.loads(content)
    if not isinstance(config, dict):
        raise UserError(f"{path} of model {name!r} holds no JSON object.", "SE-0303")
    if (folder / "adapter_config.json").is_file():
        # With peft installed the library would read another model's weights and add the adapter's;
        # without it, neither.
        raise UserError(
            f"Model {name!r} has an adapter_config.json beside its config.json in {folder}. Merge "
            "the adapter into the model, or move adapter_config.json away to ask it without.",
            "SE-0303",
        )
    return config


def check_tokenizer(folder: Path, name: str) -> None:
    """Refuse a model folder without a tokenizer.

    Raises:
        UserError: None of the known tokenizer files is there.
    """
    if not any(_matching(folder, TOKENIZER_FILES)):
        raise UserError(
            f"Model {name!r} has no tokenizer in {folder}: expected tokenizer.json or "
            "tokenizer.model. Copy the files of the base model's tokenizer there.",
            "SE-0303",
        )


def weight_files(folder: Path, name: str) -> list[Path]:
    """The files that a model's weights are read from, as the library chooses them.

    That is model.safetensors, or else the index and the shards that it names; other files with
    the same weights (`consolidated.safetensors`) are not read.

    Raises:
        UserError: There are none; pickles are named and refused, because reading them can run
            code.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        return [index, *_shards(index)]
    weights = sorted(folder.glob("*.safetensors"))
    if weights:
        return weights
    pickles = sorted(path.name for path in _matching(folder, PICKLES))
    found = f" It holds {pickles[0]}, a pickle, which can run code when read." if pickles else ""
    raise UserError(
        f"Model {name!r} has no .safetensors weights in {folder}.{found} "
        "Convert the weights to safetensors, or give a .gguf file.",
        "SE-0304",
    )


def _shards(index: Path) -> list[Path]:
    content = read_bytes(index)
    with reading(index, "Download or convert the model again."):
        names = sorted(set(json.loads(content)["weight_map"].values()))
    for name in names:
        _check_shard(index, name)
    return [index.parent / name for name in names]


def _check_shard(index: Path, name: object) -> None:
    """Refuse a shard that is no safetensors file of the model's own folder."""
    if not isinstance(name, str) or not name.endswith(".safetensors") or Path(name).name != name:
        raise UserError(
            f"{index} names {str(name)[:80]!r} as a shard. Only .safetensors files in the same "
            "folder are read. Download or convert the model again.",
            "SE-0303",
        )
    shard = index.parent / name
    if not shard.is_file():
        raise UserError(
            f"{index} names {name}, which is not there. Download the model again.", "SE-0303"
        )
    # The hub's cache holds links into a folder of its own, beside the one of the revisions.
    homes = (index.parent.resolve(), index.parent.absolute().parent.parent / "blobs")
    if not any(shard.resolve().is_relative_to(home) for home in homes):
        raise UserError(
            f"{shard} is a link out of the model's folder. Put the file itself there.", "SE-0303"
        )


def _matching(folder: Path, patterns: Iterable[str]) -> Iterable[Path]:
    return (path for pattern in patterns for path in folder.glob(pattern))

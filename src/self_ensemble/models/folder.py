"""What must lie in a model's folder before it is worth loading."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from self_ensemble.errors import UserError

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

_SAMPLE_BYTES = 1 << 20


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
        raise UserError(f"Model {name!r} has no config.json in {folder}. {hint}")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} of model {name!r} is not valid JSON: {error}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} of model {name!r} holds no JSON object.")
    return config


def check_tokenizer(folder: Path, name: str) -> None:
    """Refuse a model folder without a tokenizer.

    Raises:
        UserError: None of the known tokenizer files is there.
    """
    if not any(_matching(folder, TOKENIZER_FILES)):
        raise UserError(
            f"Model {name!r} has no tokenizer in {folder}: expected tokenizer.json or "
            "tokenizer.model. Copy the files of the base model's tokenizer there."
        )


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a model folder.

    Raises:
        UserError: There are none; pickles are named and refused, because reading them can run
            code.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if weights:
        return weights
    pickles = sorted(path.name for path in _matching(folder, PICKLES))
    found = f" It holds {pickles[0]}, a pickle, which can run code when read." if pickles else ""
    raise UserError(
        f"Model {name!r} has no .safetensors weights in {folder}.{found} "
        "Convert the weights to safetensors, or give a .gguf file."
    )


def fingerprint(paths: Iterable[Path]) -> str:
    """Identify weights on disk by their files' sizes and samples of their bytes.

    One MiB at the start, the middle and the end of each file: a whole checkpoint would take
    minutes to read, and training changes every tensor.

    Returns:
        "sha256:" and 16 hexadecimal digits; the same wherever the files lie.
    """
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            for start in (0, size // 2, max(0, size - _SAMPLE_BYTES)):
                file.seek(start)
                digest.update(file.read(_SAMPLE_BYTES))
    return f"sha256:{digest.hexdigest()[:16]}"


def _matching(folder: Path, patterns: Iterable[str]) -> Iterable[Path]:
    return (path for pattern in patterns for path in folder.glob(pattern))

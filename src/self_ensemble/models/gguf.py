"""GGUF files, unpacked once into a folder that loads twenty times faster.

transformers reads a GGUF file several times over and rebuilds its tensor names for every module:
15 seconds for a 135 M model. The unpacked copy holds the same float32 weights and loads in one.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from self_ensemble.models.folder import fingerprint

# Unpacking multiplies the size by up to eight; a large file is read as it is every time.
MAX_UNPACKED_FILE = 2**29


def cache_folder() -> Path:
    """Where unpacked copies are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "self-ensemble" / "gguf"


def unpacked_folder(file: Path) -> Path | None:
    """Where the unpacked copy of a file is or would be; None if it is too large for one."""
    if file.stat().st_size > MAX_UNPACKED_FILE:
        return None
    digest = fingerprint([file]).removeprefix("sha256:")
    return cache_folder() / f"{file.stem}-{digest}-transformers-{transformers.__version__}"


def unpack(file: Path, folder: Path) -> bool:
    """Write the unpacked copy; whole or not at all.

    Returns:
        Whether it is there now. A full or read-only disk only costs time at every load.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    # float32 whatever type is asked for, so that one copy serves all of them.
    model = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    with suppress(OSError):  # noqa: SIM117
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            new = Path(scratch) / "model"
            model.save_pretrained(new)
            tokenizer.save_pretrained(new)
            try:
                new.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
                # Another process was faster; its copy is the same.
                shutil.rmtree(new)
    return folder.exists()

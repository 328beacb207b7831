"""GGUF files, unpacked once into a folder that loads twenty times faster.

transformers reads a GGUF file several times over and rebuilds its tensor names for every module:
15 seconds for a 135 M model. The unpacked copy holds the same float32 weights and loads in one.
A list of the copy's files with their digests lies beside them; a copy that is not as it says is
made anew.
"""

import json
import shutil
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from self_ensemble.errors import UserError
from self_ensemble.identity.files import OnBytes, cache_folder, read_files

# Unpacking multiplies the size by up to eight; a large file is read as it is every time.
MAX_UNPACKED_FILE = 2**29
LIST_NAME = "self_ensemble_digests.json"


def unpacked_folder(file: Path, on_bytes: OnBytes = lambda done, total: None) -> Path | None:
    """Where the unpacked copy of a file is or would be; None if it is too large for one.

    It is named after all that its content depends on.
    """
    if file.stat().st_size > MAX_UNPACKED_FILE:
        return None
    digest = read_files({"gguf": file}, on_bytes)["gguf"].digest.removeprefix("xxh3:")
    makers = "-".join(f"{name}-{version(name)}" for name in ("transformers", "gguf"))
    return cache_folder("gguf") / f"{file.stem}-{digest}-{makers}"


def is_whole(folder: Path) -> bool:
    """Whether an unpacked copy is there, as it was made; a damaged one is taken away."""
    if not folder.exists():
        return False
    try:
        listed = json.loads((folder / LIST_NAME).read_bytes())
        if listed == _digests(folder):
            return True
    except (OSError, ValueError, RecursionError, UserError):
        pass
    with suppress(OSError):  # noqa: SIM117
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            # Another process may be reading it: what it has open stays readable.
            folder.rename(Path(scratch) / "damaged")
    return False


def _digests(folder: Path) -> dict[str, str]:
    names = sorted(path.name for path in folder.iterdir() if path.name != LIST_NAME)
    return {n: file.digest for n, file in read_files({n: folder / n for n in names}).items()}


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
            (new / LIST_NAME).write_text(json.dumps(_digests(new)))
            try:
                new.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
                # Another process was faster; its copy is the same.
                shutil.rmtree(new)
    return folder.exists()

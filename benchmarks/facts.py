"""What a number depends on: machine, versions, commit."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from self_ensemble import errors

PACKAGES = ("self-ensemble", "torch", "transformers", "numpy")


def hardware(device: torch.device) -> dict[str, object]:
    """The machine: processor, cores, threads in use, memory, and the accelerator in use."""
    facts: dict[str, object] = {
        "device": str(device),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": _memory_bytes(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["gpu"] = properties.name
        facts["gpu_memory_bytes"] = properties.total_memory
        facts["cuda"] = torch.version.cuda
    return facts


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def commit() -> str | None:
    """The commit of the checkout that the library comes from, with "+changes" where edited.

    Returns:
        None for an installed package, or without git.
    """
    folder = Path(errors.__file__).resolve().parent
    if shutil.which("git") is None:
        return None
    # A virtual environment can lie inside some other project's checkout.
    if _git(folder, "ls-files", "--error-unmatch", "errors.py") is None:
        return None
    found = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = _git(
        folder, "status", "--porcelain", "--untracked-files=no", ":/src", ":/benchmarks/*.py"
    )
    return f"{found}+changes" if found and changed else found


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_bytes() -> int | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):  # not on Windows
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

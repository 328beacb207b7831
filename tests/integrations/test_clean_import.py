"""Each integration imports where nothing is installed but the core and its own extra.

What else lies in this environment is hidden from a process of its own, by the requirements that
the packages declare. A virtual environment for each run would take minutes.
"""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
MODULES = {
    "inspect": "inspect_ai_solver",
    "lm-eval": "lm_eval_model",
    "serve": "serve",
}
HIDING = """
import json, sys
from importlib.machinery import PathFinder
hidden = set(json.loads(sys.argv[1]))

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [Hiding if one is PathFinder else one for one in sys.meta_path]
import importlib
importlib.import_module(sys.argv[2])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def needed(requirements: list[str]) -> set[str]:
    """All distributions that these bring along, by the names that packages declare."""
    found: set[str] = set()
    waiting = [Requirement(one) for one in requirements]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        environments: list[dict[str, str]] = [{"extra": extra} for extra in (*one.extras, "")]
        if one.marker is not None and not any(map(one.marker.evaluate, [{"extra": ""}])):
            continue
        if name in found and not one.extras:
            continue
        found.add(name)
        try:
            declared = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for line in declared:
            more = Requirement(line)
            if more.marker is None or any(map(more.marker.evaluate, environments)):
                more.marker = None
                waiting.append(more)
    return found


def modules_beside(requirements: list[str]) -> list[str]:
    """Modules of this environment that nobody would have who installs only these."""
    kept = needed([*requirements, "setuptools"])
    return sorted(
        module
        for module, owners in metadata.packages_distributions().items()
        if kept.isdisjoint(map(canonicalize_name, owners)) and module != "self_ensemble"
    )


def imported(module: str, hidden: list[str]) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", HIDING, json.dumps(hidden), f"self_ensemble.{module}"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("extra", MODULES)
def test_an_integration_needs_its_own_extra_only(extra):
    requirements = PROJECT["optional-dependencies"][extra]
    pytest.importorskip(Requirement(requirements[0]).name.replace("-", "_"))
    hidden = modules_beside([*PROJECT["dependencies"], *requirements])
    assert {"pytest", "ray", "hypothesis"} <= set(hidden)
    found = imported(f"integrations.{MODULES[extra]}", hidden)
    assert found.isdisjoint(hidden)


def test_the_core_asks_for_no_integration():
    hidden = modules_beside(PROJECT["dependencies"])
    assert {"pytest", "ray", "fastapi"} <= set(hidden)
    assert "torch" in imported("ensemble", hidden)
    assert "typer" in imported("cli.main", hidden)


def test_inspects_provider_is_there_before_torch_is():
    """Inspect imports what its entry points name for whatever model it is asked."""
    pytest.importorskip("inspect_ai")
    requirements = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["inspect"]]
    found = imported("integrations.inspect_ai_solver", modules_beside(requirements))
    assert "torch" not in found

"""The user's own code: a module, and what it imports from the user's own files, by content.

Own is what lies neither in Python's folders nor in site-packages; of installed packages the
version counts. Imports are read from the source, those inside functions too, and nothing is run
to follow them.
"""

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import NamedTuple

from self_ensemble.identity.files import read_files

_IMPORTERS = ("import_module", "__import__")


class Code(NamedTuple):
    """What a piece of the user's code consists of.

    Attributes:
        modules: Digest of the content of each of the user's own modules, by name.
        installed: Names of the installed packages that they import.
    """

    modules: dict[str, str]
    installed: tuple[str, ...]

    @property
    def packages(self) -> dict[str, str]:
        """Version of each installed package, which takes a third of a second to find out."""
        return {top: _version(top) for top in self.installed}


def code_of(names: Iterable[str]) -> Code:
    """The user's modules with all that they import.

    Args:
        names: Modules as Python names them; `__main__` is the script that was started.

    Raises:
        UserError: A file cannot be read.
    """
    modules: dict[str, str] = {}
    installed: set[str] = set()
    seen: set[str] = set()
    waiting = [one for name in names for one in _with_parents(name)]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file_of(name)
        if path is None:
            continue
        if not is_own(path):
            installed.add(name.partition(".")[0])
            continue
        modules[name] = read_files({name: path})[name].digest
        if path.suffix == ".py":
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imports(path.read_bytes(), package)
    # self-ensemble's own version is in every manifest.
    third_party = sorted(installed - sys.stdlib_module_names - {"self_ensemble"})
    return Code(modules, tuple(third_party))


def is_own(path: Path) -> bool:
    """Whether a file is the user's, and neither Python's nor an installed package's."""
    resolved = path.resolve()
    return not any(resolved.is_relative_to(folder) for folder in _foreign_folders())


@cache
def _foreign_folders() -> tuple[Path, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    # Packages that a distribution or `pip install --user` put elsewhere on the path.
    folders |= {e for e in sys.path if Path(e).name in ("site-packages", "dist-packages")}
    ours = Path(__file__).resolve().parents[1]
    return (ours, *(Path(folder).resolve() for folder in folders))


def _with_parents(name: str) -> list[str]:
    """Give "a", "a.b" and "a.b.c" for "a.b.c": a package is imported before what is in it."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _file_of(name: str) -> Path | None:
    """Where a module's code lies; None for what is no module, or is in no file."""
    origin = getattr(sys.modules.get(name), "__file__", None)
    if origin is None:
        spec = _spec(name)
        origin = spec.origin if spec is not None and spec.has_location else None
    return Path(origin) if origin is not None and Path(origin).is_file() else None


def _spec(name: str) -> ModuleSpec | None:
    """How a module would be found, without importing the packages that it is in."""
    spec: ModuleSpec | None = None
    folders: Sequence[str] = ()
    for part in _with_parents(name):
        loaded = getattr(sys.modules.get(part), "__spec__", None)
        if loaded is not None:
            spec = loaded
        elif spec is not None:
            spec = PathFinder.find_spec(part, folders)
        elif part not in sys.modules:
            spec = importlib.util.find_spec(part)
        if spec is None:
            return None
        folders = spec.submodule_search_locations or ()
    return spec


@cache
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """Names that a module may import; some are no modules, which is found out later.

    Args:
        source: Its source.
        package: The package that its relative imports start from.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()  # It cannot be imported either.
    return tuple(name for node in ast.walk(tree) for name in _imported(node, package))


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _with_parents(alias.name)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package)
        if base is not None:
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and _name(node.func) in _IMPORTERS and node.args:
        named = node.args[0]
        if isinstance(named, ast.Constant) and isinstance(named.value, str):
            called = _absolute(named.value, package)
            yield from _with_parents(called) if called else ()


def _absolute(name: str, package: str) -> str | None:
    """A module's whole name, where dots at its beginning say how far it is from the package."""
    try:
        return importlib.util.resolve_name(name, package)
    except ImportError:
        return None  # Beyond the outermost package: it cannot be imported either.


def _name(function: ast.expr) -> object:
    return getattr(function, "attr", getattr(function, "id", None))


def _version(top: str) -> str:
    """Version of the distribution that brings a package."""
    for distribution in _distributions().get(top, []):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())

"""The tree of docs/code.md names every module of the project once, where it is."""

import re
from collections import Counter

from docs_site.pages import ROOT

NAME = r"[\w.]+(?:\.\w+|/)(?=,|\s|$)"
ENTRY = re.compile(rf"( +)((?:[\w/]+/)?{NAME}(?:, {NAME})*)")
SHOWN = ("src/self_ensemble", "docs_site", "benchmarks")


def named(page: str) -> list[str]:
    """Paths of all files in the tree: folders end with a slash, what is in them stands deeper."""
    found, folders = [], list[tuple[int, str]]()
    for line in page.splitlines():
        entry = ENTRY.match(line)
        if entry is None:
            continue
        depth = len(entry[1])
        folders = [(level, folder) for level, folder in folders if level < depth]
        place = "".join(folder for _, folder in folders)
        for name in entry[2].split(", "):
            if name.endswith("/"):
                folders.append((depth, name))
            else:
                found.append(place + name)
    return found


def test_every_module_stands_in_the_tree_once_and_every_name_is_a_file():
    page = (ROOT / "docs/code.md").read_text("utf-8")
    files = Counter(named(page))
    modules = {
        path.relative_to(ROOT).as_posix()
        for folder in SHOWN
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(modules - files.keys()) == []
    assert sorted(name for name in files if not (ROOT / name).is_file()) == []
    assert [name for name, times in files.items() if times > 1] == []


def test_a_tree_is_read_by_its_indentation():
    page = "    a/b/    of a\n      c.py, d.py   two\n      e/\n        f.py   one\n      g.py\n"
    assert named(page) == ["a/b/c.py", "a/b/d.py", "a/b/e/f.py", "a/b/g.py"]

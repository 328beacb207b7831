"""Which files of the repository are pages, and what becomes of the links between them.

Links are written for the repository, where a reader finds the page beside the code. On the site a
link to a page becomes one to that page, and a link to any other file one to a copy of it.
"""

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
# Pages that lie outside docs/, by their path in the repository.
OUTSIDE = {
    "README.md": "index.md",
    "README.zh.md": "index.zh.md",
    "DESIGN.md": "design.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
    "examples/README.zh.md": "examples.zh.md",
    "benchmarks/RESULTS.md": "measurements.md",
}
COPIES = "files"

# Chinese has no blank where a line of the source ends, but a browser shows one.
_WIDE = r"\u3000-\u303f\u4e00-\u9fff\uff00-\uffef“”"
_MARK = r"\u3001\u3002\uff08\uff09\uff0c\uff1a\uff1b"
_BREAK = re.compile(rf"(?<=[{_WIDE}])\n *(?=[{_WIDE}])|(?<=[{_MARK}])\n *(?![-*|#>\s]|\d+\.)")

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
# Each page of the site has a menu of languages.
_OTHER_LANGUAGE = re.compile(r"\[(?:English|中文)\]\([^)]*\) · ")
_FENCE = re.compile(r"^(```+)(\w+) ([\w.]+)$", re.MULTILINE)
_BLOCKS = r"^```.*?^```|(?<=\n\n)(?:    [^\n]*\n)+"
_BLOCK = re.compile(f"({_BLOCKS})", re.DOTALL | re.MULTILINE)
_CODE = re.compile(f"({_BLOCKS}|`[^`\\n]*`)", re.DOTALL | re.MULTILINE)


def in_repository(page: str) -> str:
    """Where a page's text lies: `index.md` is README.md."""
    return next((path for path, uri in OUTSIDE.items() if uri == page), f"docs/{page}")


def on_site(path: str) -> str:
    """Where a file of the repository lies on the site, from its root."""
    # In the Chinese half a link to a page leads to the Chinese one by itself.
    path = path.replace(".zh.md", ".md")
    if path in OUTSIDE:
        return OUTSIDE[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{COPIES}/{path}"


def for_site(text: str, page: str) -> str:
    """A page's text with links as they are on the site, and names of files above their code."""
    source = PurePosixPath(in_repository(page))
    text = _OTHER_LANGUAGE.sub("", text)
    pieces = _CODE.split(text)
    pieces[::2] = [_LINK.sub(lambda m: _moved(m, source, page), one) for one in pieces[::2]]
    text = "".join(pieces)
    return _FENCE.sub(r'\1\2 title="\3"', joined(text) if page.endswith(".zh.md") else text)


def joined(text: str) -> str:
    """Chinese prose without the breaks inside its paragraphs; code keeps its lines."""
    pieces = _BLOCK.split(text)
    pieces[::2] = [_BREAK.sub("", one) for one in pieces[::2]]
    return "".join(pieces)


def copied(text: str, path: str) -> set[str]:
    """Files of the repository that a text at `path` links to and that are no pages."""
    outside_code = "".join(_CODE.split(text)[::2])
    targets = {_target(m[2], PurePosixPath(path)) for m in _LINK.finditer(outside_code)}
    return {t for t in targets if t is not None and on_site(t).startswith(COPIES)}


def _moved(match: re.Match[str], source: PurePosixPath, page: str) -> str:
    target = _target(match[2], source)
    if target is None:
        return match[0]
    moved = os.path.relpath(on_site(target), PurePosixPath(page).parent)
    return f"{match[1]}{moved}{match[3] or ''}{match[4]}"


def _target(link: str, source: PurePosixPath) -> str | None:
    """Path in the repository that a link leads to; None for one that leads elsewhere."""
    if ":" in link:
        return None
    path = os.path.normpath(source.parent / link)
    # What is not there is left as it is, for the strict build to say so.
    return path if (ROOT / path).is_file() else None

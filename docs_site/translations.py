"""Whether each Chinese page says what its English one says: `python -m docs_site.translations`.

A Chinese page `NAME.zh.md` begins with a line that holds the digest of the English page that it
was translated from. Once that page changes, the translation has to be looked at, and the new
digest recorded: `python -m docs_site.translations --record NAME.zh.md`.
"""

import os
import re
import sys
from calendar import month_name
from collections import Counter
from hashlib import sha256
from pathlib import Path

from docs_site.pages import ROOT

# Pages for those who change the project, as DESIGN.md is.
FOR_DEVELOPERS = ("code.md", "releasing.md")

_FIRST = re.compile(r"<!-- translated from (\S+), sha256 (\w+) -->\n")
_CODE = re.compile(r"^```.*?^```|(?<=\n\n)(?: {4}[^\n]*\n)+", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"\s+#.*")
# A Chinese date has the month in digits.
_MONTH = re.compile(rf"(?<=\d )({'|'.join(month_name[1:])})(?= \d{{4}})")


def english_pages() -> list[Path]:
    """Every page that users read and that is not made from the code."""
    pages = [path for path in (ROOT / "docs").glob("*.md") if not path.name.endswith(".zh.md")]
    return [
        *(ROOT / name for name in ("README.md", "examples/README.md")),
        *(path for path in sorted(pages) if path.name not in FOR_DEVELOPERS),
    ]


def faults() -> list[str]:
    """What is not in step, one line each."""
    return [line for page in english_pages() for line in page_faults(translation(page))]


def page_faults(page: Path) -> list[str]:
    """What of a Chinese page is not as in its English one."""
    if not page.is_file():
        path = os.path.relpath(page, ROOT)
        return [
            f"{original(page).name} has no Chinese page: write {path}, then "
            f"run: python -m docs_site.translations --record {path}"
        ]
    english, text = original(page).read_text("utf-8"), page.read_text("utf-8")
    name = page.name
    first = _FIRST.match(text)
    if first is None or first[1] != original(page).name:
        return [f"{name} does not begin with the line that says what it was translated from."]
    if first[2] != digest(english):
        return [
            f"{first[1]} has changed since {name} was translated. Bring {name} up to date, "
            f"then run: python -m docs_site.translations --record {os.path.relpath(page, ROOT)}"
        ]
    said, here = facts(english), facts(text[first.end() :])
    return [
        f"{name} has other {kind} than {first[1]}: {_difference(said[kind], here[kind])}."
        for kind in said
        if said[kind] != here[kind]
    ]


def translation(page: Path) -> Path:
    """The Chinese page of an English one."""
    return page.with_suffix(".zh.md")


def original(page: Path) -> Path:
    """The English page of a Chinese one."""
    return page.with_name(page.name.replace(".zh.md", ".md"))


def digest(text: str) -> str:
    """What a Chinese page records of its English one."""
    return sha256(text.encode()).hexdigest()[:16]


def facts(text: str) -> dict[str, list[str]]:
    """What does not depend on the language: headings, commands, code, numbers and links."""
    blocks = [_COMMENT.sub("", block) for block in _CODE.findall(text)]
    prose = _CODE.sub("", text)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    prose = re.sub(r"\]\([^)\s]+\)", "]", prose)
    prose = _MONTH.sub(lambda month: str([*month_name].index(month[0])), prose)
    spans = re.findall(r"`[^`\n]+`", prose)
    return {
        "headings": [line.split()[0] for line in prose.splitlines() if re.match("#+ ", line)],
        "blocks of code": [" ".join(block.split()) for block in blocks],
        "code": sorted(Counter(spans)),
        # An anchor is made of the heading's own words.
        "links": sorted(link.replace(".zh.md", ".md").partition("#")[0] for link in links),
        "numbers": sorted(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"`[^`\n]+`", "", prose))),
    }


def record(page: Path) -> None:
    """Write the digest of the English page into the Chinese one."""
    english = original(page)
    text = _FIRST.sub("", page.read_text("utf-8"))
    line = (
        f"<!-- translated from {english.name}, sha256 {digest(english.read_text('utf-8'))} -->\n"
    )
    page.write_text(line + text, "utf-8")


def _difference(said: list[str], here: list[str]) -> str:
    missing, extra = Counter(said) - Counter(here), Counter(here) - Counter(said)
    parts = [f"lacks {list(missing.elements())}"] if missing else []
    parts += [f"has {list(extra.elements())} too many"] if extra else []
    return " and ".join(parts) or "in another order"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--record"]:
        for name in sys.argv[2:]:
            record(Path(name).absolute())
    found = faults()
    print(*found, sep="\n")
    sys.exit(1 if found else 0)

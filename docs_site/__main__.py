"""Build the site: `python -m docs_site [FOLDER]`, or `make docs`; into site/ by default.

The pages are put together in build/docs first, as plain Markdown: the builder needs no plugin of
ours, and can be changed for another that reads mkdocs.yml.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from docs_site.commands import commands_page
from docs_site.pages import COPIES, OUTSIDE, ROOT, copied, for_site, in_repository
from docs_site.python_api import python_page
from docs_site.translations import faults

PAGES = ROOT / "build" / "docs"
GENERATED = {"commands.md": commands_page, "python.md": python_page}


def put_together(pages: Path) -> None:
    """Fill the folder `pages` with all that the site is built from."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    for path, name in OUTSIDE.items():
        if (ROOT / path).is_file():
            shutil.copyfile(ROOT / path, pages / name)
    linked = set()
    for page in pages.rglob("*.md"):
        name = page.relative_to(pages).as_posix()
        text = page.read_text(encoding="utf-8")
        linked |= copied(text, in_repository(name))
        page.write_text(for_site(text, name), encoding="utf-8")
    for name, make in GENERATED.items():
        (pages / name).write_text(make(), encoding="utf-8")
    for path in linked:
        (pages / COPIES / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, pages / COPIES / path)


def main(arguments: list[str]) -> int:
    """Check the translations, put the pages together and build the site."""
    found = faults()
    if found:
        print(*found, sep="\n", file=sys.stderr)
        return 1
    put_together(PAGES)
    folder = Path(arguments[0] if arguments else ROOT / "site").absolute()
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"]
    code = subprocess.run([*build, str(folder)], cwd=ROOT, check=False).returncode
    if code == 0:
        # A browser runs no search in pages that it opens from disk.
        print(f"{folder}/index.html; with the search: python -m http.server --directory {folder}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""From a template and values to one HTML file that needs nothing else.

A page is a template beside this file that extends `base.html.j2`, with a style and a script of its
own where it wants them. Values are escaped wherever they stand, and what cannot be seen in them is
shown; `data` is read by the script as JSON, as it is. A policy in the page lets that one script
run, by its digest, and forbids every other script and all that comes from a network: what a user
typed cannot run even where an escape was forgotten.
"""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from self_ensemble.errors import UserError

FOLDER = Path(__file__).parent
MAX_BYTES = 2_000_000

# Attributes that a browser fetches something for.
_FETCHED = frozenset({"src", "srcset", "href", "action", "formaction", "poster", "data", "ping"})
_FETCHED_BY_STYLE = re.compile(r"@import|url\(", re.IGNORECASE)
# Characters that show nothing, or turn round the text about them, and halves of characters. Left
# are joiners (U+200C, U+200D), without which Persian and emoji would be other text.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufffe\uffff]"
)


class _Page(NamedTuple):
    """What `base.html.j2` is given: written by us, so not escaped."""

    policy: str
    style: Markup
    script: Markup


def render_page(
    template: str,
    *,
    title: str,
    style: str = "",
    script: str = "",
    max_bytes: int = MAX_BYTES,
    **values: Any,
) -> str:
    """Fill a template.

    Args:
        template: Name of a file beside this one.
        title: The page's title and heading.
        style: Name of a CSS file beside this one, after the common one.
        script: Name of a script beside this one; it finds `data` in the element of that id.
        max_bytes: Its largest size.
        **values: What the template names; texts may hold anything.

    Raises:
        UserError: The page would be larger.
    """
    code = _own_file(script)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; " if code else ""
    page = _Page(
        policy=f"default-src 'none'; {allowed}style-src 'unsafe-inline'; img-src data:",
        style=Markup(_own_file("style.css") + _own_file(style)),
        script=Markup(code),
    )
    html = _environment().get_template(template).render(page=page, title=title, **values)
    found = external(html)
    assert not found, f"{template} fetches {found}"
    size = len(html.encode())
    if size > max_bytes:
        raise UserError(
            f"The page would have {size / 1e6:.1f} MB, and a page has {max_bytes / 1e6:.0f} at "
            "most. Give fewer or shorter wordings, or fewer tokens.",
            "SE-0017",
        )
    return html


def render_part(template: str, macro: str, *values: object) -> Markup:
    """Fill a macro of a template, for a page that is not ours; values are escaped as ever."""
    module = _environment().get_template(template).module
    return Markup(getattr(module, macro)(*values))


def shown(text: str) -> str:
    """A text in which every character can be seen.

    Control characters have their picture, and what has none, or would turn the text about it
    round, its number. Line breaks and tabs are left.
    """

    def visible(match: re.Match[str]) -> str:
        code = ord(match[0])
        if code < 0x20:
            return chr(0x2400 + code)
        return "\u2421" if code == 0x7F else f"<U+{code:04X}>"

    return _UNSEEN.sub(visible, text)


def breakable(name: str) -> Markup:
    """A name that may be broken behind its hyphens, underlines and slashes, and nowhere else."""
    return Markup(re.sub(r"([-_/.])(?!\d+$)", r"\1<wbr>", str(escape(shown(name)))))


def with_code(sentence: str) -> Markup:
    """A sentence whose parts in backticks are code."""
    return Markup(re.sub(r"`([^`<]*)`", r"<code>\1</code>", str(escape(shown(sentence)))))


def hue(number: int) -> int:
    """Hue of a wording, in degrees: neighbours are far apart, and 20 wordings all differ."""
    return round(210 + 137.508 * number) % 360


def external(html: str) -> list[str]:
    """Whatever a browser would fetch for a page, as `tag attribute=value`."""
    finder = _Fetched()
    finder.feed(html)
    finder.close()
    return finder.found


class _Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            given = (value or "").strip()
            fetched = name in _FETCHED and not given.startswith(("#", "data:"))
            if fetched or (name == "style" and _FETCHED_BY_STYLE.search(given)):
                self.found.append(f"{tag} {name}={given}")

    def handle_data(self, data: str) -> None:
        if self._in_style and (match := _FETCHED_BY_STYLE.search(data)):
            self.found.append(f"style {match[0]}")

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_finalized,
    )  # fmt: skip
    environment.filters |= {"hue": hue, "breakable": breakable, "with_code": with_code}
    environment.policies["json.dumps_function"] = json.dumps
    # Lone halves of characters have an escape in JSON, and no bytes in UTF-8.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": True, "allow_nan": False}
    return environment


def _finalized(value: object) -> object:
    """What a template prints; of our own markup nothing is changed."""
    return shown(value) if type(value) is str else value


def _own_file(name: str) -> str:
    return (FOLDER / name).read_text("utf-8") if name else ""

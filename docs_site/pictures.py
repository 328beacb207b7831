"""The pictures of concepts.md, drawn from real layouts: `python -m docs_site.pictures`.

Words stand for tokens, so that a picture can be read. Who reads whom, with which weight and at
which position comes from the functions that the engine calls. The tree of continuations is that of
a bundled question, as the packaged model answers it (`--tree`).
"""

import sys
from collections.abc import Sequence
from html import escape

from docs_site.pages import ROOT
from self_ensemble.packing.layout import FusionPoint, Layout, Positions, build_layout
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.packed_sequence import PackedSequence, bias_at, packed_sequence

FOLDER = ROOT / "docs" / "pictures"
PREFIX = ("Answer", "briefly.")
WORDINGS = (("who", "wrote", "Hamlet?"), ("Hamlet", "is", "by", "whom?"))
CUE = ("A:",)
ANSWER = ("Shake", "speare")
COLOURS = {"prefix": "#8a8f98", "cue": "#5b6068", "generated": "#5b6068"}
SEGMENTS = ("#2f6fb7", "#c2622d")
CELL, INK, PAPER = 22, "#22262b", "#ffffff"


class Drawing:
    """SVG, line by line."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(title)}" '
            'font-family="ui-sans-serif, system-ui, sans-serif" font-size="12">',
            f"<title>{escape(title)}</title>",
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        ]

    def box(self, x: float, y: float, w: float, h: float, fill: str, opacity: float = 1) -> None:
        self.lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" '
            f'fill-opacity="{opacity:g}" stroke="{PAPER}"/>'
        )

    def text(self, x: float, y: float, text: str, more: str = "", fill: str = INK) -> None:
        self.lines.append(f'<text x="{x:g}" y="{y:g}" fill="{fill}" {more}>{escape(text)}</text>')

    def line(self, path: str, more: str = "") -> None:
        self.lines.append(f'<path d="{path}" fill="none" stroke="{INK}" {more}/>')

    def save(self, name: str) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(self.svg(), encoding="utf-8")

    def svg(self) -> str:
        return "\n".join([*self.lines, "</svg>\n"])


def layout(positions: Positions = "aligned", fusion_point: FusionPoint = "cue") -> Layout:
    """The question of the pictures, packed by the engine's own function; weights are 1/N."""
    ids = iter(range(100))
    prefix, cue = (tuple(next(ids) for _ in part) for part in (PREFIX, CUE))
    segments = tuple(tuple(next(ids) for _ in wording) for wording in WORDINGS)
    weights = [1 / len(WORDINGS)] * len(WORDINGS)
    return build_layout(
        PromptParts(prefix, segments, cue),
        segment_weights=weights,
        positions=positions,
        fusion_point=fusion_point,
    )


def words(fusion_point: FusionPoint = "cue") -> tuple[str, ...]:
    """The tokens of the packed sequence, as words."""
    if fusion_point == "last_segment":
        return PREFIX + sum((w + CUE for w in WORDINGS), ()) + ANSWER
    return PREFIX + sum(WORDINGS, ()) + CUE + ANSWER


def colours(sequence: PackedSequence) -> list[str]:
    """A colour for each token: one for every wording."""
    found = []
    for span in sequence.spans:
        colour = SEGMENTS[span.group - 1] if span.kind == "segment" else COLOURS[span.kind]
        found += [colour] * (span.end - span.start)
    return found


def visibility() -> Drawing:
    """Groups, who reads whom, and the weights."""
    sequence = packed_sequence(layout(), len(PREFIX), len(ANSWER))
    names, ink, n = words(), colours(sequence), sequence.num_columns
    weights = bias_at(sequence, range(n), range(n)).exp().tolist()
    left, top = 90, 80
    title = "Who reads whom: a row reads the filled columns; pale cells have weight 1/2"
    drawing = Drawing(left + n * CELL + 190, top + n * CELL + 12, title)
    for i, name in enumerate(names):
        middle: float = top + i * CELL + 15
        drawing.text(left - 6, middle, name, 'text-anchor="end"', ink[i])
        x = left + i * CELL + 14
        turned = f'transform="rotate(-60 {x} {top - 6})"'
        drawing.text(x, top - 6, name, turned, ink[i])
        for j, weight in enumerate(weights[i]):
            fill, opacity = (ink[j], weight) if weight else ("#eef0f2", 1)
            drawing.box(left + j * CELL, top + i * CELL, CELL, CELL, fill, opacity)
    side = left + n * CELL + 12
    for span in sequence.spans:
        middle = top + (span.start + span.end) / 2 * CELL + 4
        drawing.text(side, middle, _group_name(span.kind, span.group), "", ink[span.start])
    return drawing


def _group_name(kind: str, group: int) -> str:
    return {"prefix": "group 0: prefix", "generated": "the answer"}.get(
        kind, f"group {group}: " + ("fused tail" if kind == "cue" else f"wording {group}")
    )


def positions() -> Drawing:
    """Position ids, aligned and contiguous."""
    width = 58
    drawing = Drawing(100 + 10 * width + 12, 190, "Positions: aligned, and contiguous")
    for number, how in enumerate(("aligned", "contiguous")):
        packed = layout(positions=how)  # type: ignore[arg-type]
        sequence = packed_sequence(packed, len(PREFIX), 0)
        places = [*range(len(PREFIX)), *packed.positions]
        top = 10 + number * 92
        drawing.text(8, top + 24, how, 'font-weight="bold"')
        drawing.text(8, top + 56, "position")
        _strip(drawing, words()[: len(places)], colours(sequence), 104, top + 6, width)
        for i, place in enumerate(places):
            drawing.text(104 + i * width + width / 2, top + 56, str(place), 'text-anchor="middle"')
    return drawing


def fusion_points() -> Drawing:
    """Which token predicts the first token of the answer, and what it reads."""
    width = 58
    drawing = Drawing(100 + 12 * width + 8, 236, "Fusion point: the cue, or the last wording")
    kinds: tuple[FusionPoint, ...] = ("cue", "last_segment")
    for number, how in enumerate(kinds):
        packed = layout(fusion_point=how)
        sequence = packed_sequence(packed, len(PREFIX), 1)
        top = 44 + number * 116
        names, ink = words(how)[: sequence.num_columns], colours(sequence)
        drawing.text(8, top + 20, how, 'font-weight="bold"')
        _strip(drawing, names, ink, 104, top, width)
        predictor = _predictor(packed)
        read = bias_at(sequence, [predictor], range(sequence.num_columns)).exp()[0].tolist()
        for column, weight in enumerate(read):
            if weight and column != predictor:
                _arc(drawing, column, predictor, top, width, 0.35 + 0.65 * weight)
        first = sequence.num_columns - 1
        x = 104 + (predictor + 0.5) * width
        end = 104 + (first + 0.5) * width
        drawing.line(f"M{x:g} {top + 30} q{(end - x) / 2:g} 30 {end - x:g} 2", 'stroke-width="2"')
        drawing.text((x + end) / 2, top + 62, "predicts", 'text-anchor="middle"')
    return drawing


def _predictor(packed: Layout) -> int:
    assert packed.fused is not None
    return len(PREFIX) + packed.fused.predictor


def _arc(drawing: Drawing, start: int, end: int, top: int, width: int, opacity: float) -> None:
    a, b = 104 + (start + 0.5) * width, 104 + (end + 0.5) * width
    high = top - 6 - 3 * abs(end - start)
    drawing.line(f"M{a:g} {top} Q{(a + b) / 2:g} {high} {b:g} {top}", f'opacity="{opacity:.2f}"')


def _strip(
    drawing: Drawing, names: Sequence[str], ink: Sequence[str], left: int, top: int, width: int
) -> None:
    for i, name in enumerate(names):
        drawing.box(left + i * width, top, width, 28, ink[i], 0.18)
        x = left + i * width + width / 2
        drawing.text(x, top + 18, name, 'text-anchor="middle"', ink[i])


PICTURES = {
    "visibility.svg": visibility,
    "positions.svg": positions,
    "fusion_point.svg": fusion_points,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        draw().save(name)
    if "--tree" in sys.argv:
        from docs_site.tree_picture import tree

        tree().save("tree.svg")

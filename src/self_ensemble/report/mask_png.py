"""The mask as a PNG: a heat map of all tokens beside the bands of its parts.

    title, facts                          one panel per mask: its own, and what it is compared
    part | heat map | part | blocks       with; then one per BlockMask

Sizes are in inches.
"""

import colorsys
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from self_ensemble.report.figure import BOXES, save_figure
from self_ensemble.report.mask_blocks import NAMES, BlockTable, block_line, size_line
from self_ensemble.report.mask_drawing import DrawnMask, MaskDrawing
from self_ensemble.report.mask_matrix import mask_shades, shade_of
from self_ensemble.report.packed_sequence import Span
from self_ensemble.report.page.page import hue, shown

Colour = str | tuple[float, float, float]

_DPI = 160
_MAP, _LEFT, _RIGHT, _BAND = 5.6, 2.05, 0.25, 0.11
_TOP, _BOTTOM, _LINE = 0.75, 0.5, 0.2
_LABEL_GAP, _NUMBER_GAP = 0.165, 0.42
_LETTERS = 12.5  # in an inch of small text
_INK, _FAINT, _GRID = "#1d2833", "#5b6873", "#b9c4cd"
_GREYS = {"prefix": "#aeb9c3", "cue": "#6b7a87", "generated": "#2f3c48"}
_HEAT = LinearSegmentedColormap.from_list("heat", ["#f4f6f8", "#b9d5ec", "#3f7cac", "#0d3b66"])
_BLOCKS = ListedColormap(["#f4f6f8", "#8fb8da", "#0d3b66"])


def write_mask_png(path: Path, drawing: MaskDrawing, *, say: Callable[[str], None]) -> None:
    """Draw and write.

    Raises:
        UserError: The file cannot be written.
    """
    if not save_figure(mask_figure(drawing), path, _DPI):
        say(BOXES)


def mask_figure(drawing: MaskDrawing) -> Figure:
    """Draw every mask and every BlockMask of a question, side by side."""
    panel = _LEFT + _MAP + _RIGHT
    width = panel * (len(drawing.masks) + len(drawing.blocks))
    title = _wrapped([drawing.title], 0.75 * _LETTERS * width)
    facts = _wrapped(drawing.facts, _LETTERS * width)
    notes = [_wrapped(_notes(one), _LETTERS * (panel - 0.3)) for one in drawing.masks]
    notes += [
        _wrapped((size_line(one), block_line(one)), _LETTERS * panel) for one in drawing.blocks
    ]
    below = _BOTTOM + _LINE * max(map(len, notes))
    head = 0.3 + 0.28 * len(title) + _LINE * len(facts)
    height = head + _TOP + _MAP + below
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    canvas = _Canvas(figure, width, height)
    canvas.text(0.2, height - 0.2, title, size=14, colour=_INK, weight="bold")
    canvas.text(0.2, height - 0.3 - 0.28 * len(title), facts, size=9, colour=_FAINT)
    for number, one in enumerate(drawing.masks):
        _draw_mask(canvas, panel * number + _LEFT, below, one)
    for number, table in enumerate(drawing.blocks, start=len(drawing.masks)):
        _draw_blocks(canvas, panel * number + _LEFT, below, table)
    for number, lines in enumerate(notes):
        canvas.text(panel * number + 0.2, below - _BOTTOM, lines, size=9, colour=_INK)
    return figure


def _notes(mask: DrawnMask) -> tuple[str, ...]:
    if mask.answer is None:
        return mask.facts
    return (*mask.facts, f"Answer: {mask.answer}{mask.in_brackets}")


class _Canvas:
    """A figure whose places are inches from its lower left corner."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        place = (
            left / self.width, bottom / self.height, width / self.width, height / self.height,
        )  # fmt: skip
        axes: Axes = self.figure.add_axes(place)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color(_GRID)
        return axes

    def text(
        self, x: float, y: float, lines: Sequence[str], *, size: float, colour: str,
        weight: str = "normal", align: str = "left", middle: bool = False,
    ) -> None:  # fmt: skip
        step = 0.28 if size > 12 else _LINE
        for number, line in enumerate(lines):
            self.figure.text(
                x / self.width, (y - step * number) / self.height, line, fontsize=size,
                color=colour, fontweight=weight, ha=align, va="center" if middle else "top",
            )  # fmt: skip

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: Colour) -> None:
        xs, ys = (
            [start[i] / size, end[i] / size] for i, size in ((0, self.width), (1, self.height))
        )
        self.figure.add_artist(Line2D(xs, ys, color=colour, linewidth=1))


def _draw_mask(canvas: _Canvas, left: float, bottom: float, mask: DrawnMask) -> None:
    sequence = mask.sequence
    length = sequence.num_columns
    axes = canvas.axes(left, bottom, _MAP, _MAP)
    axes.imshow(
        mask_shades(sequence, int(_MAP * _DPI)), cmap=_HEAT, vmin=0, vmax=1, aspect="auto",
        interpolation="nearest", extent=(0, length, length, 0),
    )  # fmt: skip
    down = canvas.axes(left - _BAND - 0.03, bottom, _BAND, _MAP)
    down.set(xlim=(0, 1), ylim=(length, 0))
    across = canvas.axes(left, bottom + _MAP + 0.03, _MAP, _BAND)
    across.set(xlim=(0, length), ylim=(0, 1))
    for span in sequence.spans:
        size, colour = span.end - span.start, _colour(span)
        down.add_patch(Rectangle((0, span.start), 1, size, color=colour, linewidth=0))
        across.add_patch(Rectangle((span.start, 0), size, 1, color=colour, linewidth=0))
        for line in (axes.axhline, axes.axvline):
            line(span.start, color=_INK, linewidth=0.3, alpha=0.35)
    scale = _MAP / length
    top = bottom + _MAP
    last = float("-inf")
    for span in sequence.spans:
        x = left + scale * span.start
        if x - last >= _NUMBER_GAP:
            last = x
            canvas.text(x, top + 0.25, [str(span.start)], size=7, colour=_FAINT, middle=True)
    middles = [top - scale * (span.start + span.end) / 2 for span in sequence.spans]
    gap = min(_LABEL_GAP, _MAP / len(middles))
    weights = sequence.bias[sequence.tail].exp().tolist()
    spread = _spread(middles, gap, bottom, top)
    for span, middle, y in zip(sequence.spans, middles, spread, strict=True):
        label = f"{span.name}  {span.end - span.start}"
        if span.kind == "segment":
            label += f"  w {weights[span.group]:.3g}"
        edge = left - _BAND - 0.03
        canvas.text(
            edge - 0.25, y, [label], size=min(8.0, 48 * gap), colour=_INK, align="right",
            middle=True,
        )  # fmt: skip
        canvas.line((edge, middle), (edge - 0.2, y), _colour(span))
    _draw_weights(canvas, left, bottom, sorted({1.0, *_seen_weights(mask)}))
    canvas.text(left, top + 0.45, [mask.name], size=10, colour=_INK, middle=True)


def _seen_weights(mask: DrawnMask) -> list[float]:
    """Weights of the segments, of so many that a legend can have."""
    found = {round(w, 6) for w in mask.sequence.bias[mask.sequence.tail].exp().tolist() if w > 0}
    listed = sorted(found)
    return listed if len(listed) <= 6 else listed[:: len(listed) // 5]


def _draw_weights(canvas: _Canvas, left: float, bottom: float, weights: Sequence[float]) -> None:
    entries = [(0.0, "may not read"), *((w, f"weight {w:.3g}") for w in weights)]
    for number, (weight, label) in enumerate(entries):
        x = left + 1.08 * number
        _swatch(canvas, x, bottom - 0.27, _HEAT(shade_of(weight)), label)


def _draw_blocks(canvas: _Canvas, left: float, bottom: float, table: BlockTable) -> None:
    rows, columns = len(table.states), len(table.states[0])
    cell = min(_MAP / rows, _MAP / columns)
    width, height = cell * columns, cell * rows
    axes = canvas.axes(left, bottom + _MAP - height, width, height)
    axes.imshow(
        table.states, cmap=_BLOCKS, vmin=0, vmax=2, aspect="auto", extent=(0, columns, rows, 0)
    )
    for number in range(1, max(rows, columns)):
        if number < rows:
            axes.axhline(number, color="white", linewidth=min(1.5, 6 * cell))
        if number < columns:
            axes.axvline(number, color="white", linewidth=min(1.5, 6 * cell))
    top = bottom + _MAP
    every = max(1, round(0.2 / cell))
    for row in range(0, rows, every):
        first = row * table.size[0]
        label = f"queries {first}-{first + table.size[0] - 1}"
        canvas.text(left - 0.1, top - cell * (row + 0.5), [label], size=7, colour=_FAINT,
                    align="right", middle=True)  # fmt: skip
    canvas.text(
        left - 0.1, top + 0.12, ["keys"], size=7, colour=_FAINT, align="right", middle=True
    )
    every = max(1, round(_NUMBER_GAP / cell))
    for column in range(0, columns, every):
        canvas.text(left + cell * column, top + 0.12, [str(column * table.size[1])], size=7,
                    colour=_FAINT, middle=True)  # fmt: skip
    for state, name in enumerate(NAMES):
        _swatch(canvas, left + 1.08 * state, bottom + _MAP - height - 0.27, _BLOCKS(state), name)
    canvas.text(left, top + 0.45, [f"BlockMask: {table.name}"], size=10, colour=_INK, middle=True)


def _swatch(canvas: _Canvas, x: float, y: float, colour: object, label: str) -> None:
    axes = canvas.axes(x, y - 0.06, 0.12, 0.12)
    axes.set_facecolor(colour)  # type: ignore[arg-type]
    canvas.text(x + 0.17, y, [label], size=7.5, colour=_FAINT, middle=True)


def _colour(span: Span) -> Colour:
    if span.kind != "segment":
        return _GREYS[span.kind]
    return colorsys.hls_to_rgb(hue(span.group - 1) / 360, 0.52, 0.62)


def _spread(places: Sequence[float], gap: float, bottom: float, top: float) -> list[float]:
    """Places from the top down, moved so far that they are a gap apart and all inside."""
    found: list[float] = []
    limit = top - gap / 2
    for place in places:
        limit = min(place, limit)
        found.append(limit)
        limit -= gap
    limit = bottom + gap / 2
    for number in range(len(found) - 1, -1, -1):
        found[number] = max(found[number], limit)
        limit = found[number] + gap
    return found


def _wrapped(lines: Sequence[str], letters: float) -> list[str]:
    return [part for line in lines for part in wrap(shown(line), max(20, int(letters)))]

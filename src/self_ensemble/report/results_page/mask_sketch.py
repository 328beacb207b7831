"""Who reads whom in the packed question of a result file, drawn from what the file holds.

Result files keep texts and no tokens, so a part is as long as its letters and no tokenizer is
needed. The rule is that of `packing/visibility.py`, which a test holds this one equal to.

    prefix      #
    wording 1   # #
    wording 2   # . #
    cue         # # # #
    answer      # # # # #
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

Kind = Literal["prefix", "segment", "cue", "generated"]

_SIDE, _LABELS, _LINE = 300.0, 96.0, 13.0
_LEAST_SHADE = 0.3
# Of the whole picture: a part is never so small that it is not seen, a prefix not larger.
_LEAST, _MOST_PREFIX = 0.045, 0.3


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the packed sequence, from left to right."""

    name: str
    kind: Kind
    num_letters: int


def sketch_parts(
    prefix: str, wordings: Sequence[str], answer: str, *, has_cue: bool = True
) -> tuple[Part, ...]:
    """Name the parts of a packed question.

    Args:
        prefix: Instruction and few-shot examples; "" for none.
        wordings: The wordings, in order.
        answer: What was answered; "" for nothing.
        has_cue: Whether the answer cue stands behind all wordings, and is not part of each.
    """
    parts = [Part("prefix", "prefix", len(prefix))] if prefix else []
    parts += [
        Part(f"wording {place}", "segment", len(text))
        for place, text in enumerate(wordings, start=1)
    ]
    if has_cue:
        parts.append(Part("cue", "cue", len("A:")))
    if answer:
        parts.append(Part("answer", "generated", len(answer)))
    return tuple(parts)


def read_weight(reader: Part, read: Part, weight: float = 1.0) -> float:
    """What attention of a part on an earlier one is multiplied by; 0: it may not read it.

    Args:
        reader: The later part.
        read: The earlier part, another one.
        weight: Weight of each wording inside attention.
    """
    if read.kind == "prefix":
        return 1.0
    if reader.kind == "segment":
        return 0.0
    return weight if read.kind == "segment" else 1.0


def segment_weight(made_with: Mapping[str, object], num_wordings: int) -> float | None:
    """The weight of each wording, by a file's manifest; None where each has its own."""
    weights = {"uniform": 1 / num_wordings, "none": 1.0}
    return weights.get(str(made_with.get("segment_weights")))


def mask_svg(parts: Sequence[Part], weight: float, alt: str) -> Markup:
    """Draw the mask: rows read, columns are read.

    Args:
        parts: From left to right.
        weight: Of each wording inside attention.
        alt: What it shows, for who does not see it.
    """
    sizes = _sizes(parts)
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    starts = [end - size for end, size in zip(ends, sizes, strict=True)]
    drawn: list[str] = []
    for row, (reader, top, height) in enumerate(zip(parts, starts, sizes, strict=True)):
        for column, (read, left, width) in enumerate(zip(parts, starts, sizes, strict=True)):
            x, kind = _LABELS + left, read.kind
            if column == row:
                points = f"{x:.1f},{top:.1f} {x:.1f},{top + height:.1f} "
                points += f"{x + width:.1f},{top + height:.1f}"
                drawn.append(f'<polygon class="reads {kind}" points="{points}"/>')
            elif column < row and (found := read_weight(reader, read, weight)) > 0:
                shade = _LEAST_SHADE + (1 - _LEAST_SHADE) * min(found, 1.0) ** 0.5
                drawn.append(
                    f'<rect class="reads {kind}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" '
                    f'height="{height:.1f}" fill-opacity="{shade:.2f}"/>'
                )
    drawn.append(f'<rect class="frame" x="{_LABELS}" y="0" width="{_SIDE}" height="{_SIDE}"/>')
    for end in ends[:-1]:
        drawn.append(
            f'<path class="edge" d="M{_LABELS} {end:.1f}H{_LABELS + _SIDE}'
            f'M{_LABELS + end:.1f} 0V{_SIDE}"/>'
        )
    for part, y in zip(parts, _spread([(a + b) / 2 for a, b in zip(starts, ends, strict=True)]),
                       strict=True):  # fmt: skip
        drawn.append(
            f'<text x="{_LABELS - 6}" y="{y:.1f}" text-anchor="end" '
            f'dominant-baseline="central">{escape(part.name)}</text>'
        )
    height = max(_SIDE, _LINE * len(parts))
    return Markup(
        f'<svg role="img" aria-label="{escape(alt)}" class="mask" '
        f'viewBox="0 -2 {_LABELS + _SIDE + 2} {height + 4}" style="--width: 400">'
        f"{''.join(drawn)}</svg>"
    )


def _sizes(parts: Sequence[Part]) -> list[float]:
    """Lengths of the parts, which add up to the side."""
    wordings = sum(part.num_letters for part in parts if part.kind != "prefix") or 1
    longest = wordings * _MOST_PREFIX / (1 - _MOST_PREFIX)
    letters = [
        min(part.num_letters, longest) if part.kind == "prefix" else part.num_letters
        for part in parts
    ]
    least = min(_LEAST, 1 / len(parts)) * sum(letters)
    sizes = [max(number, least, 1e-9) for number in letters]
    return [_SIDE * size / sum(sizes) for size in sizes]


def _spread(places: Sequence[float]) -> list[float]:
    """Places of the names, moved down so far that none hides another."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + _LINE if found else place))
    over = max(0.0, found[-1] + _LINE / 2 - max(_SIDE, _LINE * len(places)))
    for place in range(len(found) - 1, -1, -1):
        least = found[place] - over
        found[place] = (
            least if place == len(found) - 1 else min(found[place], found[place + 1] - _LINE)
        )
    return found

"""Who may read whom, as text: a packed sequence at a few chosen columns.

             0   1   2   3   4   5   6   7        prefix of 2 tokens, two segments of 2,
    P0   0   #                                    a cue of 1 token, 1 generated token
         1   #   #                                (row: the token that reads)
    S1   2   #   #   #
    E1   3   #   #   #   #
    S2   4   #   #           #
    E2   5   #   #           #   #
    C0   6   #   #   #   #   #   #   #
    G0   7   #   #   #   #   #   #   #   #

The squares come from `packed_sequence.bias_at`, as every picture of the mask.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.oracle.self_check import Difference
from self_ensemble.packing.visibility import NEVER
from self_ensemble.report.packed_sequence import PackedSequence, Span, bias_at

WIDTH = 120
MAX_POSITIONS = 25
SQUARE, DOT = "\u25a0", "\u00b7"
LINE_BREAK, SPACE = "\u21b5", "\u2423"


def boundary_marks(spans: Iterable[Span]) -> dict[int, str]:
    """The mark of every boundary, by its column; a segment of one token has "S1 E1"."""
    marks: dict[int, str] = {}
    for span in spans:
        if span.kind == "segment":
            marks[span.start] = f"S{span.group}"
            last = f"E{span.group}"
            marks[span.end - 1] = (
                f"{marks[span.start]} {last}" if span.end - span.start == 1 else last
            )
        else:
            marks[span.start] = {"prefix": "P0", "cue": "C0", "generated": "G0"}[span.kind]
    return marks


def chosen_columns(spans: Sequence[Span], max_columns: int = MAX_POSITIONS) -> tuple[int, ...]:
    """Choose the columns to draw: boundaries, points inside each segment, generation, the rest.

    Each segment gets as many points as the others. Boundaries are chosen even where they are
    more than `max_columns`.
    """
    chosen = set(boundary_marks(spans))
    turns = [
        [span for span in spans if span.kind in kinds]
        for kinds in (("segment",), ("generated",), ("prefix", "cue"))
    ]
    grows = True
    while grows:
        grows = False
        for turn in turns:
            points = {point for span in turn for point in _next_point(span, chosen)}
            if points and len(chosen) + len(points) <= max_columns:
                chosen |= points
                grows = True
    return tuple(sorted(chosen))


def _next_point(span: Span, chosen: set[int]) -> list[int]:
    """The last column of a span, then the middle of its widest gap; nothing if it is full."""
    if span.end - 1 not in chosen:
        return [span.end - 1]
    inside = sorted(column for column in chosen if span.start <= column < span.end)
    left, right = max(pairwise(inside), key=lambda gap: gap[1] - gap[0], default=(0, 0))
    return [(left + right) // 2] if right - left > 1 else []


def mask_picture(sequence: PackedSequence) -> str:
    """Draw the mask at the chosen columns, at most 120 characters wide.

    Raises:
        UserError: The segments are too many to draw all of their boundaries.
    """
    marks = boundary_marks(sequence.spans)
    digits = len(str(sequence.num_columns - 1))
    label_width = max(map(len, marks.values())) + 1 + digits
    room = (WIDTH - label_width) // (digits + 1)
    columns = chosen_columns(sequence.spans, min(MAX_POSITIONS, room))
    cell = digits + 1
    if len(columns) > room:
        cell = 2
        if len(columns) > (WIDTH - label_width) // cell:
            num_segments = sum(span.kind == "segment" for span in sequence.spans)
            raise UserError(
                f"{num_segments} segments have {len(columns)} boundaries, too many for a picture "
                f"of {WIDTH} columns. Draw at most 25 segments.",
                "SE-0017",
            )
    lines = [" " * label_width + line for line in _header(columns, digits, cell)]
    visible = (bias_at(sequence, columns, columns) > NEVER).tolist()
    for column, row in zip(columns, visible, strict=True):
        mark = marks.get(column, "")
        label = f"{mark:<{label_width - digits}}{column:>{digits}}"
        lines.append(label + "".join(f"{SQUARE if seen else DOT:>{cell}}" for seen in row))
    return "\n".join(lines)


def _header(columns: Sequence[int], digits: int, cell: int) -> list[str]:
    if cell > digits:
        return ["".join(f"{column:>{cell}}" for column in columns)]
    # Too many for a line: the digits of each number stand below each other.
    numbers = [f"{column:>{digits}}" for column in columns]
    return ["".join(f"{digit:>{cell}}" for digit in line) for line in zip(*numbers, strict=True)]


def legend(sequence: PackedSequence) -> str:
    """Explain the signs of the picture and list the parts with their lengths and weights."""
    lines = [
        f"{SQUARE} may read  {DOT} may not   row: the token that reads, column: the token read",
        "P0 first token of the prefix   S# first and E# last token of segment #   "
        "C0 first of the cue   G0 first generated",
        "",
        f"{'part':<12} {'columns':>15} {'tokens':>8} {'position ids':>15} {'weight':>8}",
    ]
    weights = sequence.bias[sequence.tail].exp().tolist()
    for span in sequence.spans:
        length = span.end - span.start
        columns = f"{span.start}-{span.end - 1}"
        positions = f"{span.position}-{span.position + length - 1}"
        weight = f"{weights[span.group]:.3g}" if span.kind == "segment" else ""
        line = f"{span.name:<12} {columns:>15} {length:>8} {positions:>15} {weight:>8}"
        lines.append(line.rstrip())
    lines.append(
        f"{sequence.num_columns} tokens in all; weight: what cue and generated tokens multiply a "
        "segment's attention by"
    )
    return "\n".join(lines)


def prompt_text(
    sequence: PackedSequence, token_ids: Sequence[int], show: Callable[[Sequence[int]], str]
) -> str:
    """Write out the packed prompt, part by part.

    Args:
        sequence: Its parts.
        token_ids: Its tokens, prefix first, without generated ones.
        show: Turns token ids into text, for example `shown_tokens` of a tokenizer.
    """
    lines = []
    for span in sequence.spans:
        length = span.end - span.start
        if span.kind != "generated":
            lines.append(f"--- {span.name}: {length} tokens from column {span.start} ---")
            lines.append(show(token_ids[span.start : span.end]))
    lines.append(f"--- end of the prompt; {LINE_BREAK} line break, {SPACE} space at an edge, ---")
    lines.append("--- \u00ab \u00bb around special tokens ---")
    return "\n".join(lines)


def shown_tokens(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """Decode a part with special tokens, line breaks and outer spaces made visible.

    Special tokens are marked, because the same text inside a question is not one.
    """
    special = set(tokenizer.all_special_ids)
    text = ""
    for is_special, run in groupby(token_ids, key=lambda token: token in special):
        decoded: str = tokenizer.decode(
            list(run), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        text += f"\u00ab{decoded}\u00bb" if is_special else decoded
    text = re.sub(r"^ +| +$", lambda spaces: SPACE * len(spaces[0]), text)
    return text.replace("\n", f"{LINE_BREAK}\n").removesuffix("\n")


def check_text(differences: Sequence[Difference]) -> str:
    """List the comparisons of the isolation check and their verdict."""
    lines = [
        f"{'ok' if difference.is_ok else 'FAIL':<5} {difference.what}\n"
        f"      {difference.num_compared} comparisons, largest difference "
        f"{difference.largest:.2g}, {difference.relative:.2g} of a changed wording's own; "
        f"{'at most' if difference.must_be_equal else 'more than'} {difference.limit:.2g} expected"
        for difference in differences
    ]
    largest = max(difference.largest for difference in differences if difference.must_be_equal)
    if all(difference.is_ok for difference in differences):
        lines.append(f"Isolated: no wording reads another. Largest difference {largest:.2g}.")
    else:
        lines.append(f"NOT isolated. Largest difference {largest:.2g}.")
    return "\n".join(lines)

"""The mask as one HTML page: a heat map to point at and zoom into, beside the packed prompt.

The page gets the mask as runs of equal weight (`mask_matrix`) and draws them on a canvas; it
has no rule of its own of who reads whom.
"""

from collections.abc import Mapping

from self_ensemble.report.mask_blocks import NAMES, BlockTable, block_line, size_line
from self_ensemble.report.mask_drawing import DrawnMask, MaskDrawing
from self_ensemble.report.mask_matrix import MaskRuns, mask_runs
from self_ensemble.report.mask_view import LINE_BREAK
from self_ensemble.report.packed_sequence import Span
from self_ensemble.report.page.page import hue, render_page


def mask_page(drawing: MaskDrawing) -> str:
    """Write the page.

    Raises:
        UserError: It would be too large.
    """
    runs = [mask_runs(mask.sequence) for mask in drawing.masks]
    tables = [_table(table) for table in drawing.blocks]
    masks = [_mask(mask, found) for mask, found in zip(drawing.masks, runs, strict=True)]
    return render_page(
        "mask.html.j2",
        title=drawing.title,
        style="mask.css",
        script="mask.js",
        facts=drawing.facts,
        masks=masks,
        blocks=tables,
        data={
            "masks": [
                {"weights": found.weights, "rows": found.rows, "parts": _parts(mask)}
                for mask, found in zip(drawing.masks, runs, strict=True)
            ],
            "blocks": [
                {name: table[name] for name in ("states", "size", "names")} for table in tables
            ],
        },
    )


def _mask(mask: DrawnMask, runs: MaskRuns) -> Mapping[str, object]:
    """What the template names of one mask."""
    weights = mask.sequence.bias[mask.sequence.tail].exp().tolist()
    parts = [
        {
            **_part(span),
            "about": _about(span, weights[span.group]),
            "tokens": [
                (token.replace("\n", f"{LINE_BREAK}\n"), column in mask.special)
                for column, token in enumerate(mask.tokens[span.start : span.end], span.start)
            ],
        }
        for span in mask.sequence.spans
    ]
    return {
        "name": mask.name, "facts": mask.facts, "answer": mask.answer, "verdict": mask.in_brackets,
        "parts": parts,
        "levels": _few(runs.weights),
    }  # fmt: skip


def _parts(mask: DrawnMask) -> list[Mapping[str, object]]:
    return [_part(span) for span in mask.sequence.spans]


def _part(span: Span) -> dict[str, object]:
    return {
        "name": span.name, "kind": span.kind, "start": span.start, "end": span.end,
        "position": span.position, "hue": hue(span.group - 1) if span.kind == "segment" else 210,
    }  # fmt: skip


def _about(span: Span, weight: float) -> str:
    length = span.end - span.start
    words = [f"{length} token{'' if length == 1 else 's'}"]
    words.append(f"positions {span.position} to {span.position + length - 1}")
    if span.kind == "segment":
        words.append(f"weight {weight:.3g}")
    return ", ".join(words)


def _few(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Not more weights than a legend has room for, the first and the last among them."""
    step = -(-len(weights) // 7)
    return (*weights[:-1:step], weights[-1])


def _table(table: BlockTable) -> dict[str, object]:
    return {
        "name": table.name, "size_line": size_line(table), "block_line": block_line(table),
        "names": NAMES, "size": table.size,
        "states": ["".join(map(str, row)) for row in table.states],
    }  # fmt: skip

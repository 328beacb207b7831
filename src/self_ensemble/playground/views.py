"""The HTML of what a board holds. Every text in it is escaped, wherever it came from."""

from pathlib import Path

from self_ensemble.packing.layout import build_layout
from self_ensemble.playground.board import Board, Gate, Lengths
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.attribution_strip import strip_of
from self_ensemble.report.mask_drawing import DrawnMask, MaskDrawing
from self_ensemble.report.mask_matrix import count_pairs
from self_ensemble.report.mask_page import mask_page
from self_ensemble.report.packed_sequence import packed_sequence
from self_ensemble.report.page.page import FOLDER, render_part

TEMPLATE = "playground.html.j2"
STYLE = FOLDER / "playground.css"
# Fonts that are there; none is fetched.
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
MAX_DRAWN = 2048  # tokens


def heading(model: str) -> str:
    """What the page is of."""
    return render_part(TEMPLATE, "heading", model)


def answers(board: Board) -> str:
    """The answers of all methods and of each wording, side by side."""
    return render_part(TEMPLATE, "answers", board)


def gate(found: Gate | None) -> str:
    """Kept and refused wordings, side by side; nothing where none were made."""
    return "" if found is None else render_part(TEMPLATE, "gate", found)


def strips(board: Board) -> str:
    """Which wording decided which token, for each method."""
    if not board.strips:
        return note(
            "Nothing to show: it takes two wordings or more, and a method that fuses them token "
            "by token (not vote, not origin)."
        )
    return render_part(TEMPLATE, "strips", [strip_of(one) for one in board.strips])


def mask(lengths: Lengths | None) -> str:
    """Who may read whom in the packed question, as a page in a frame of its own."""
    if lengths is None:
        return note("Nothing to draw: nothing was asked, or the wordings have no end in common.")
    total = lengths.prefix + sum(lengths.segments) + lengths.cue + lengths.generated
    if total > MAX_DRAWN:
        return note(
            f"Not drawn: {total:,} tokens. `self-ensemble mask` draws more than {MAX_DRAWN:,}."
        )
    return render_part(TEMPLATE, "frame", mask_page(_drawing(lengths)))


def note(text: str) -> str:
    """A remark."""
    return render_part(TEMPLATE, "note", text, "note")


def refusal(text: str) -> str:
    """What could not be done, and what to do."""
    return render_part(TEMPLATE, "note", text, "error")


def style() -> str:
    """The CSS of all of them."""
    return Path(STYLE).read_text("utf-8")


def _drawing(lengths: Lengths) -> MaskDrawing:
    """The mask of tokens of which only the numbers are known, as `mask --lengths` draws it."""
    parts = PromptParts(
        (0,) * lengths.prefix, tuple((0,) * length for length in lengths.segments),
        (0,) * lengths.cue,
    )  # fmt: skip
    number = len(lengths.segments)
    layout = build_layout(parts, segment_weights=[1 / number] * number)
    sequence = packed_sequence(layout, lengths.prefix, lengths.generated)
    fact = (
        f"{sequence.num_columns:,} tokens, {count_pairs(sequence):,} pairs of a token and one "
        "that it reads. A segment is a wording; none reads another."
    )
    drawn = DrawnMask("Packed", sequence, (), frozenset(), ())
    return MaskDrawing("Who may read whom in flex_attention", (fact,), (drawn,))

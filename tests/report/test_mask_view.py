"""The drawing of the mask against the rule of who may read whom, written out as loops."""

import re

import pytest
from hypothesis import given

from self_ensemble.errors import UserError
from self_ensemble.oracle.self_check import Difference
from self_ensemble.packing.layout import build_layout
from self_ensemble.packing.visibility import NEVER
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.report.mask_view import (
    MAX_POSITIONS,
    boundary_marks,
    check_text,
    chosen_columns,
    legend,
    mask_picture,
    prompt_text,
    shown_tokens,
)
from self_ensemble.report.packed_sequence import bias_at, packed_sequence
from tests.report.packed_shapes import Shape, may_read, shapes

SQUARE, DOT = "\u25a0", "\u00b7"


def rows_of(picture: str) -> dict[int, tuple[str, str]]:
    """Column of each row of a picture, with its mark and its squares and dots."""
    rows = {}
    for line in picture.splitlines():
        if match := re.fullmatch(rf"([PSECG\d ]*?) *(\d+)((?: +[{SQUARE}{DOT}])+)", line):
            rows[int(match[2])] = (match[1], match[3].replace(" ", ""))
    return rows


@given(shapes)
def test_a_square_stands_where_the_rule_lets_a_token_read(shape):
    sequence, owners = shape.sequence(), shape.owners()
    assert sequence.num_columns == len(owners)
    rows = rows_of(mask_picture(sequence))
    for reader, (_, signs) in rows.items():
        expected = [SQUARE if may_read(owners, reader, read) else DOT for read in rows]
        assert list(signs) == expected


@given(shapes)
def test_every_part_begins_and_every_segment_ends_at_a_marked_row(shape):
    owners = shape.owners()
    expected: dict[int, str] = {}
    tail_start = {"prefix": "P0", "tail": "C0" if shape.fusion_point == "cue" else "G0"}
    for column, owner in enumerate(owners):
        number = owner.removeprefix("segment ")
        is_first = column == 0 or owners[column - 1] != owner
        is_last = column + 1 == len(owners) or owners[column + 1] != owner
        marks = [f"S{number}"] * is_first + [f"E{number}"] * is_last
        if owner in tail_start:
            marks = [tail_start[owner]] if is_first else []
        if marks:
            expected[column] = " ".join(marks)
    if shape.generated:
        expected[len(owners) - shape.generated] = "G0"
    rows = rows_of(mask_picture(shape.sequence()))
    assert {column: mark for column, (mark, _) in rows.items() if mark} == expected


@given(shapes)
def test_no_row_is_empty(shape):
    sequence = shape.sequence()
    everywhere = range(sequence.num_columns)
    assert (bias_at(sequence, everywhere, everywhere) > NEVER).any(dim=1).all()


@given(shapes)
def test_picture_and_legend_fit_120_columns(shape):
    sequence = shape.sequence()
    text = f"{mask_picture(sequence)}\n{legend(sequence)}"
    assert max(map(len, text.splitlines())) <= 120


@given(shapes)
def test_at_most_25_columns_are_chosen_unless_the_boundaries_are_more(shape):
    spans = shape.sequence().spans
    boundaries, chosen = set(boundary_marks(spans)), chosen_columns(spans)
    assert boundaries <= set(chosen)
    assert len(chosen) <= max(MAX_POSITIONS, len(boundaries))
    assert chosen == tuple(sorted(set(chosen)))


def test_a_short_sequence_is_drawn_whole():
    sequence = Shape(prefix=2, lengths=(2, 2), cue=1, generated=1).sequence()
    assert mask_picture(sequence).replace(SQUARE, "#").replace(DOT, ".") == "\n".join(
        [
            "     0 1 2 3 4 5 6 7",
            "P0 0 # . . . . . . .",
            "   1 # # . . . . . .",
            "S1 2 # # # . . . . .",
            "E1 3 # # # # . . . .",
            "S2 4 # # . . # . . .",
            "E2 5 # # . . # # . .",
            "C0 6 # # # # # # # .",
            "G0 7 # # # # # # # #",
        ]
    )


def test_five_segments_in_248_tokens_fit_with_their_column_numbers_on_one_line():
    shape = Shape(prefix=20, lengths=(44, 40, 41, 46, 50), cue=2, generated=5)
    header, *rows = mask_picture(shape.sequence()).splitlines()
    numbers = [int(number) for number in header.split()]
    assert len(numbers) == len(rows) == 25
    assert numbers[0] == 0
    assert numbers[-1] == 247


def test_points_inside_the_segments_come_before_the_end_of_the_generation():
    spans = Shape(prefix=20, lengths=(40, 40), cue=2, generated=5).sequence().spans
    boundaries = set(boundary_marks(spans))
    assert set(chosen_columns(spans, 9)) - boundaries == {39, 79}
    assert set(chosen_columns(spans, 10)) - boundaries == {39, 79, 106}


def test_column_numbers_stand_upright_where_a_line_is_too_short():
    shape = Shape(prefix=1, lengths=(50,) * 20, cue=2, generated=3)
    header = mask_picture(shape.sequence()).splitlines()[:4]
    upright = ["".join(digits).strip() for digits in zip(*header, strict=True)]
    assert [int(number) for number in upright if number][:4] == [0, 1, 50, 51]


def test_too_many_segments_for_the_width_are_refused():
    shape = Shape(prefix=1, lengths=(3,) * 40, cue=2, generated=3)
    with pytest.raises(UserError, match="40 segments have 83 boundaries"):
        mask_picture(shape.sequence())


@pytest.mark.parametrize("num_segments", [1, 25])
def test_as_many_segments_as_the_message_promises_can_be_drawn(num_segments):
    shape = Shape(prefix=9999, lengths=(3000,) * num_segments, cue=2, generated=3)
    assert mask_picture(shape.sequence())


def test_the_legend_lists_lengths_position_ids_and_weights():
    parts = PromptParts((0,) * 4, ((0,) * 3, (0,) * 5), (0,) * 2)
    layout = build_layout(parts, segment_weights=(0.25, 0.75))
    lines = [line.split() for line in legend(packed_sequence(layout, 4, 6)).splitlines()]
    assert lines[4:9] == [
        ["prefix", "0-3", "4", "0-3"],
        ["segment", "1", "4-6", "3", "4-6", "0.25"],
        ["segment", "2", "7-11", "5", "4-8", "0.75"],
        ["cue", "12-13", "2", "9-10"],
        ["generated", "14-19", "6", "11-16"],
    ]


def test_the_prompt_shows_every_token_of_every_part_once():
    layout = build_layout(PromptParts((1, 2), ((3,), (4, 5)), (6, 7)))
    sequence = packed_sequence(layout, 2, 9)
    text = prompt_text(sequence, (1, 2, *layout.token_ids), lambda ids: ",".join(map(str, ids)))
    assert text.splitlines()[:8] == [
        "--- prefix: 2 tokens from column 0 ---", "1,2",
        "--- segment 1: 1 tokens from column 2 ---", "3",
        "--- segment 2: 2 tokens from column 3 ---", "4,5",
        "--- cue: 2 tokens from column 5 ---", "6,7",
    ]  # fmt: skip


def test_a_special_token_is_told_from_the_same_text_in_a_question(tiny_tokenizer):
    token = tiny_tokenizer("<|im_end|>").input_ids
    text = tiny_tokenizer(" a<|im_end|>b\n\n ", split_special_tokens=True).input_ids
    assert shown_tokens(tiny_tokenizer, token + text) == (
        "\u00ab<|im_end|>\u00bb a<|im_end|>b\u21b5\n\u21b5\n\u2423"
    )
    assert shown_tokens(tiny_tokenizer, text) == "\u2423a<|im_end|>b\u21b5\n\u21b5\n\u2423"


@pytest.mark.parametrize(
    ("relative", "verdict"),
    [(0.0, "Isolated"), (0.001, "Isolated"), (0.002, "NOT isolated"), (float("nan"), "NOT")],
)
def test_the_check_says_whether_the_difference_is_within_its_limit(relative, verdict):
    difference = Difference("something", 3, 0.5, relative, 0.001)
    control = Difference("the cue", 3, 9.0, 1.0, 0.0, must_be_equal=False)
    lines = check_text([difference, control]).splitlines()
    assert lines[0].startswith("ok" if verdict == "Isolated" else "FAIL")
    assert lines[-1].startswith(verdict)
    assert lines[-1].endswith("Largest difference 0.5.")

"""The whole mask, for pictures: as runs of equal weights, and as shades of so many pixels.

Both are made of `packed_sequence.bias_at`, some rows at a time.

C columns of the packed sequence, R rows of a stretch, P pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from self_ensemble.errors import UserError
from self_ensemble.packing.visibility import NEVER
from self_ensemble.report.packed_sequence import PackedSequence, bias_at

MAX_TOKENS = 8192
_ROWS_AT_ONCE = 512
# What may be read at all is seen, however small its weight.
_LEAST_SHADE = 0.3


@dataclass(frozen=True, slots=True)
class MaskRuns:
    """Every entry of the mask.

    Attributes:
        weights: What a token's attention to another can be multiplied by, ascending; the first
            is 0, may not read.
        rows: For each row its runs from left to right: the column behind a run, then the place of
            its weight in `weights`, and so on. What may not be read at a row's end is left out.
    """

    weights: tuple[float, ...]
    rows: list[list[int]]


def check_size(sequence: PackedSequence) -> None:
    """Refuse a sequence that is too long for a picture; see `check_length`."""
    check_length(sequence.num_columns)


def check_length(num_tokens: int) -> None:
    """Refuse more tokens than pictures and blocks are drawn of.

    Raises:
        UserError: They are more.
    """
    if num_tokens > MAX_TOKENS:
        raise UserError(
            f"Got {num_tokens:,} tokens; pictures and blocks are drawn of at most "
            f"{MAX_TOKENS:,}. Give shorter wordings, fewer --num-shots or smaller --lengths.",
            "SE-0017",
        )


def mask_runs(sequence: PackedSequence) -> MaskRuns:
    """Every entry, row by row."""
    levels = torch.unique(sequence.bias)  # ascending; -inf is always among them
    rows: list[list[int]] = []
    for bias in _stretches(sequence):
        places = torch.searchsorted(levels, bias)
        rows += [_runs(row) for row in places.numpy()]
    weights = tuple(float(f"{weight:.6g}") for weight in levels.exp().tolist())
    return MaskRuns(weights, rows)


def count_pairs(sequence: PackedSequence) -> int:
    """How many pairs of a token and one that it may read there are."""
    return sum(int((bias > NEVER).sum()) for bias in _stretches(sequence))


def _runs(places: NDArray[np.int64]) -> list[int]:
    ends = [*np.flatnonzero(places[1:] != places[:-1]) + 1, len(places)]
    runs = [int(number) for end in ends for number in (end, places[end - 1])]
    return runs[:-2] if runs[-1] == 0 else runs


def shade(weights: Tensor) -> Tensor:
    """How dark a weight is drawn, from 0 for what may not be read to 1 for full weight."""
    dark = _LEAST_SHADE + (1 - _LEAST_SHADE) * weights.clamp(max=1.0).sqrt()
    return torch.where(weights > 0, dark, 0.0)


def shade_of(weight: float) -> float:
    """How dark one weight is drawn; see `shade`."""
    return float(shade(torch.tensor(weight)))


def mask_shades(sequence: PackedSequence, num_pixels: int) -> NDArray[np.float32]:
    """Shades of the whole mask, `(P, P)`: each pixel the mean of what lies in it.

    Args:
        sequence: C columns, at most `MAX_TOKENS`.
        num_pixels: P where there are more columns than that; else each column is a pixel.
    """
    num_columns = sequence.num_columns
    num_pixels = min(num_pixels, num_columns)
    starts = np.arange(num_pixels) * num_columns // num_pixels
    found = [
        np.add.reduceat(shade(bias.exp()).numpy(), starts, axis=1) for bias in _stretches(sequence)
    ]
    sums = np.add.reduceat(np.concatenate(found), starts, axis=0)
    sizes = np.diff([*starts, num_columns])
    shades: NDArray[np.float32] = (sums / np.outer(sizes, sizes)).astype(np.float32)
    return shades


def _stretches(sequence: PackedSequence) -> Iterator[Tensor]:
    """The mask from top to bottom, `(R, C)` at a time."""
    columns = range(sequence.num_columns)
    for start in range(0, sequence.num_columns, _ROWS_AT_ONCE):
        yield bias_at(sequence, columns[start : start + _ROWS_AT_ONCE], columns)

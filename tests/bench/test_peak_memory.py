"""What an action needs at its worst moment, and what each further question costs."""

import math

import numpy as np
import pytest
import torch

from benchmarks.memory import CLEAR_REFS, bytes_per_question, peak_bytes

MIB = 2**20
CPU = torch.device("cpu")
needs_linux = pytest.mark.skipif(not CLEAR_REFS.exists(), reason="needs Linux's /proc")


def touch(num_bytes: int) -> np.ndarray:
    return np.ones(num_bytes, dtype=np.uint8)


@needs_linux
def test_memory_that_was_freed_again_counts():
    peak = peak_bytes(CPU, lambda: touch(200 * MIB).sum())
    assert 195 * MIB < peak < 240 * MIB


@needs_linux
def test_memory_of_an_earlier_action_does_not_count():
    kept = touch(200 * MIB)
    peak_bytes(CPU, lambda: touch(300 * MIB).sum())
    assert peak_bytes(CPU, lambda: touch(20 * MIB).sum()) < 60 * MIB
    assert len(kept) == 200 * MIB


@needs_linux
def test_what_is_kept_per_question_shows_and_what_is_dropped_does_not():
    def answer(num_questions: int, kept: list[np.ndarray]) -> None:
        for _ in range(num_questions):
            kept.append(touch(MIB))
            if drops:
                kept.clear()

    grown = {}
    for drops in (True, False):
        peaks = []
        for number in (10, 200):
            kept: list[np.ndarray] = []
            peaks.append(peak_bytes(CPU, lambda n=number, kept=kept: answer(n, kept)))
        grown[drops] = bytes_per_question([10, 200], peaks)
    assert abs(grown[True]) < 0.1 * MIB
    assert 0.8 * MIB < grown[False] < 1.2 * MIB


def test_growth_per_question_is_taken_from_the_fewest_to_the_most():
    assert bytes_per_question([1000, 10, 100], [5990.0, 1040.0, 7.0]) == 5.0


def test_growth_of_unknown_or_single_peaks_is_unknown():
    assert math.isnan(bytes_per_question([10, 100], [math.nan, 1.0]))
    assert math.isnan(bytes_per_question([10], [1.0]))

"""Lengths that passes and buffers are rounded up to, so that there are few of them.

Every length costs something to set up: a kernel of oneDNN, a compiled FlexAttention, a CUDA graph.
"""

FEWEST_SLOTS = 64
FLAT_BLOCK = 128  # FlexAttention's


def rounded_length(num_tokens: int) -> int:
    """The next of 16 lengths between a power of two and its double: 2 % more on average.

    oneDNN makes a kernel for every length and keeps about half a megabyte of each: without
    rounding, a run of changing lengths would grow by gigabytes.
    """
    step = 1 << max(0, num_tokens.bit_length() - 5)
    return -(-num_tokens // step) * step


def slot_bucket(num_slots: int) -> int:
    """The next of 64, 96, 128, 192, 256, 384, ...: beyond 64 less than a third of it is free."""
    half = FEWEST_SLOTS // 2
    return max(FEWEST_SLOTS, half * _bucket(-(-num_slots // half)))


def flat_bucket(num_tokens: int) -> int:
    """The next of 128, 256, 384, 512, 768, 1024, ...: FlexAttention's blocks are never cut."""
    return FLAT_BLOCK * _bucket(-(-num_tokens // FLAT_BLOCK))


def _bucket(number: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, ...: powers of two, and half as much again."""
    power = 1 << (number - 1).bit_length()
    return smaller if (smaller := 3 * power // 4) >= number else power

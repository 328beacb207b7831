"""Peak memory of an action, above what was held before it."""

import ctypes
import gc
import math
from collections.abc import Callable
from pathlib import Path

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5)


def peak_bytes(device: torch.device, action: Callable[[], object]) -> float:
    """Run an action and tell how much memory it needed at its worst moment.

    On CUDA it is what PyTorch's allocator held. On a CPU it is resident memory of the process
    (Linux: the kernel's high-water mark, reset before); free memory that the C library keeps is
    given back first, or an action could hide in what an earlier one left behind.

    Args:
        device: Where the action's tensors lie.
        action: What to measure.

    Returns:
        Bytes; nan where the system does not tell.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        action()
        return float(torch.cuda.max_memory_allocated(device) - before)
    _give_back_free_memory()
    if device.type != "cpu" or not _reset_peak():
        action()
        return math.nan
    resident = _status_bytes("VmRSS")
    action()
    return float(_status_bytes("VmHWM") - resident)


def bytes_per_question(num_questions: list[int], peaks: list[float]) -> float:
    """By how much the peak grows with each further question, from the fewest to the most.

    Returns:
        Bytes; nan for fewer than two points, or where a peak is not known.
    """
    if len(num_questions) < 2:
        return math.nan
    fewest, most = min(num_questions), max(num_questions)
    by_number = dict(zip(num_questions, peaks, strict=True))
    return (by_number[most] - by_number[fewest]) / (most - fewest)


def _give_back_free_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _reset_peak() -> bool:
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:  # not Linux, or not allowed in this container
        return False
    return True


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))

"""Memory of the host: a pass that would not fit is refused before it is begun.

A GPU says when its memory is full, and a run goes on with smaller batches. An operating system
hands out more memory than it has, and then kills the process that uses it.
"""

from pathlib import Path

import psutil
import torch
from transformers import PreTrainedConfig

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
# A pass that takes less is begun without asking.
ASKED_FROM = 1 << 26
# Values that a layer holds at once for a token, in multiples of the model's width and of the width
# inside its feed-forward part; and how often logits lie there while tokens are chosen.
WIDTHS, INNER_WIDTHS, LOGITS = 8, 3, 3


def pass_bytes(
    config: PreTrainedConfig, value_bytes: int, num_tokens: int, num_logit_rows: int
) -> int:
    """About what a forward pass takes beside the cache: layers' values, and float32 logits."""
    width, vocabulary = int(config.hidden_size), int(config.vocab_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * width)
    in_layers = num_tokens * (WIDTHS * width + INNER_WIDTHS * inner) * value_bytes
    return in_layers + LOGITS * num_logit_rows * vocabulary * 4


def slot_bytes(config: PreTrainedConfig, value_bytes: int) -> int:
    """What keys and values of one token take in all layers."""
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return 2 * int(config.num_hidden_layers) * kv_heads * head_dim * value_bytes


def check_fits(num_bytes: int) -> None:
    """Refuse to take memory that is not there.

    Raises:
        torch.OutOfMemoryError: As a GPU does.
    """
    if num_bytes < ASKED_FROM:
        return
    free = free_bytes()
    if num_bytes > free:
        raise torch.OutOfMemoryError(
            f"A pass takes about {num_bytes / 2**30:.2f} GiB, and {free / 2**30:.2f} GiB are free."
        )


def free_bytes() -> int:
    """Memory that may still be taken: of the machine, or of a container or job on it."""
    limits = [psutil.virtual_memory().available]
    for line in _lines(OWN_CGROUPS):
        number, _, path = line.partition("::")
        if number == "0":  # version 2; limits of any level count
            own = CGROUPS / path.lstrip("/")
            levels = [own, *own.parents]
            limits += [_left(level) for level in levels if (level / "memory.max").exists()]
    return min(limits)


def _left(level: Path) -> int:
    limit = "".join(_lines(level / "memory.max"))
    if limit == "max":
        return psutil.virtual_memory().available
    used = int("".join(_lines(level / "memory.current")))
    # Files that were read and can be dropped count as used there.
    stat = dict(line.split() for line in _lines(level / "memory.stat"))
    return int(limit) - used + int(stat.get("inactive_file", 0))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []

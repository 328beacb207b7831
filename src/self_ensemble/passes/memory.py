"""Memory of the host: a pass that would not fit is refused before it is begun.

A GPU says when its memory is full, and a run goes on with smaller batches. An operating system
hands out more memory than it has, and then kills the process that uses it.
"""

from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from transformers import PreTrainedConfig

# A pass that takes less is begun without asking.
ASKED_FROM = 1 << 26
# Values that lie there at once: of a token in a layer, in multiples of the model's width; of each
# logit while tokens are chosen; and of each attention score that is written out.
WIDTHS, LOGITS, SCORES = 20, 3, 3


def pass_bytes(
    config: PreTrainedConfig, dtype: torch.dtype, num_tokens: int, num_logit_rows: int
) -> int:
    """About what a forward pass takes beside the cache: layers' values, and float32 logits."""
    # Only weights are whole numbers.
    size = dtype.itemsize if dtype.is_floating_point else torch.float32.itemsize
    in_layers = WIDTHS * num_tokens * int(config.hidden_size) * size
    return in_layers + LOGITS * num_logit_rows * int(config.vocab_size) * 4


def scores_bytes(config: PreTrainedConfig, num_pairs: int) -> int:
    """About what float32 scores of so many queries and keys take, where they are written out."""
    return SCORES * int(config.num_attention_heads) * num_pairs * 4


def check_fits(num_bytes: int) -> None:
    """Refuse to take memory that is not there.

    Raises:
        torch.OutOfMemoryError: As a GPU does.
    """
    if num_bytes < ASKED_FROM:
        return
    free = free_bytes()
    if num_bytes > free:
        taken, left = (f"{number / 2**30:.2f} GiB" for number in (num_bytes, free))
        raise torch.OutOfMemoryError(
            f"A pass takes about {taken}, and {left} are free. Ask fewer questions at once, by a "
            "smaller batch size."
        )


class Cgroups(NamedTuple):
    """Where a version of Linux's control groups says what a group of processes may use."""

    root: Path
    limit: str
    used: str
    # Files that were read and can be dropped count as used.
    droppable: str


OWN_CGROUPS = Path("/proc/self/cgroup")
VERSION_1 = Cgroups(
    Path("/sys/fs/cgroup/memory"),
    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
)  # fmt: skip
VERSION_2 = Cgroups(Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file")


def free_bytes() -> int:
    """Memory that may still be taken: of the machine, or of a container or job on it."""
    limits = [int(psutil.virtual_memory().available)]
    for line in _lines(OWN_CGROUPS):
        number, controllers, path = line.split(":", 2)
        if number == "0" or "memory" in controllers.split(","):
            cgroups = VERSION_2 if number == "0" else VERSION_1
            own = cgroups.root / path.lstrip("/")
            # Limits of what a group lies in count, too.
            limits += [left for level in (own, *own.parents) for left in _left(level, cgroups)]
    return min(limits)


def _left(level: Path, cgroups: Cgroups) -> list[int]:
    limit = "".join(_lines(level / cgroups.limit))
    if limit in ("", "max"):
        return []
    used = int("".join(_lines(level / cgroups.used)))
    stat = dict(line.split() for line in _lines(level / "memory.stat"))
    return [int(limit) - used + int(stat.get(cgroups.droppable, 0))]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []

"""llama.cpp's server, inside this process (xllamacpp), with as many slots as a batch has prompts.

Each slot keeps the keys and values of what it read last, and a prompt goes to the slot that it
shares most with: the prefix is read once a slot, outside the clock.
"""

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.engines.asking import Ask
from benchmarks.engines.files import requantised
from self_ensemble.errors import UserError

NUM_SLOTS = 16
# Positions of one slot: the longest bundled prompt and its answer have less than half.
SLOT_SIZE = 512


def check_build(build: str, cpu: str) -> None:
    """Refuse a build that leaves the processor's widest instructions aside: that is not its best.

    Args:
        build: What it says of itself.
        cpu: `/proc/cpuinfo`.

    Raises:
        UserError: The processor has AVX-512, and the build does not use it.
    """
    if "avx512f" in cpu and "AVX512 = 1" not in build:
        raise UserError(
            "this build of llama.cpp does not use AVX-512, which this processor has. Build it "
            "here: pip install --no-binary xllamacpp xllamacpp",
            "SE-1101",
        )


class LlamaCpp:
    """llama.cpp with continuous batching over slots, greedy."""

    def __init__(self, file: Path, num_threads: int, precision: str) -> None:
        import xllamacpp

        check_build(xllamacpp.get_system_info(), Path("/proc/cpuinfo").read_text())
        params = xllamacpp.CommonParams()
        params.model.path = str(file if precision == "4-bit" else requantised(file, "Q8_0"))
        params.n_parallel = NUM_SLOTS
        params.n_ctx = NUM_SLOTS * SLOT_SIZE
        params.n_batch = params.n_ubatch = 2048
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = num_threads
        params.cont_batching = params.cache_prompt = True
        # Prompts that have left a slot are not kept beside it.
        params.cache_ram_mib = 0
        params.slot_prompt_similarity = 0.1
        params.warmup = False
        params.verbosity = -1
        self.server: Any = xllamacpp.Server(params)

    def warm(self, ask: Ask) -> None:
        self._generate([ask.other_prompt] * NUM_SLOTS, ask.new_tokens)

    def answer(self, ask: Ask) -> Sequence[Sequence[int]]:
        return self._generate(ask.prompts, ask.new_tokens)

    def _generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int
    ) -> Sequence[Sequence[int]]:
        settings = {
            "prompt": [list(prompt) for prompt in prompts],
            "n_predict": new_tokens,
            "ignore_eos": True,
            "temperature": 0.0,
            "samplers": ["top_k"],
            "top_k": 1,
            "cache_prompt": True,
            "return_tokens": True,
        }
        # The call from Python gives texts; this one gives token ids. It adds less than a
        # millisecond to a batch.
        request = urllib.request.Request(
            f"{self.server.listening_address}/completion",
            json.dumps(settings).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as reply:
            found = json.load(reply)
        found = [found] if isinstance(found, dict) else found
        return [one["tokens"] for one in sorted(found, key=lambda one: one["index"])]

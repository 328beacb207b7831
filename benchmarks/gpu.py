"""Everything that needs a GPU, in one run: correctness, timings at four batch sizes, traces.

    python -m benchmarks.gpu                      # Llama-3.2-3B's sizes, bfloat16, 300/5/30/20
    python -m benchmarks.gpu --device cpu --tiny  # the same switches in seconds, on any machine

The answers of every backend are compared with the oracle before anything is timed; where they
differ, or a backend does not run, nothing is timed and the exit code is 1. Steps that would not
end in time are left out, and the document says which. The last line is one JSON document.
"""

import argparse
import json
import shlex
import sys
import time
from dataclasses import asdict, dataclass, field, replace

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from benchmarks.ceilings import Ceilings, wait_for
from benchmarks.check import check_work
from benchmarks.document import plain
from benchmarks.facts import commit, hardware, versions
from benchmarks.line_up import make_rivals
from benchmarks.measure import measure
from benchmarks.random_models import SIZES, random_model
from benchmarks.summary import Row, ratios, summarise
from benchmarks.view import rows_view
from benchmarks.work import Shape, Work, shape_work
from self_ensemble.captured.decode import DECODE
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel

GQA_RATIOS = (3, 4, 7)
RIVALS = ("generate_one", "generate_five", "flex_attention", "avg", "per_prompt", "vote", "all")
OURS_AGAIN = ("flex_attention", "avg", "per_prompt")
TRACED = "flex_attention"
TRACED_BATCH = 64
# A batch of this many rows of full prompts takes more memory than ours at the largest batch.
MOST_ROWS = 64 * 5
TOP_KERNELS = 12


@dataclass(slots=True)
class Clock:
    """How much of the run's time is left.

    Attributes:
        minutes: Time of the whole run.
        skipped: What was left out because of it.
    """

    minutes: float
    skipped: list[str] = field(default_factory=list)
    _start: float = field(default_factory=time.monotonic)

    def allows(self, what: str, share: float) -> bool:
        """Whether less than this share of the time is gone; if not, `what` is noted."""
        if time.monotonic() - self._start < share * 60 * self.minutes:
            return True
        self.skipped.append(what)
        return False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start


def plain_work(loaded: LoadedModel, shape: Shape, num_questions: int) -> Work:
    """One batch; on plain layers, which a CPU can compile, too."""
    work = shape_work(loaded, shape, num_questions=num_questions, batch_size=num_questions)
    return replace(work, packs_layers=False)


def correctness(device: str, backends: list[str], decodes: list[str]) -> list[dict[str, object]]:
    """Every backend against the oracle, float32, tiny models of three GQA ratios."""
    found: list[dict[str, object]] = []
    for ratio in GQA_RATIOS:
        heads = 2 * ratio
        sizes = replace(SIZES["tiny"], heads=heads, kv_heads=2, hidden=16 * heads)
        loaded = random_model(f"gqa{ratio}", device=device, dtype="float32", sizes=sizes)
        work = plain_work(loaded, Shape(20, 3, 7, 8), 3)
        for backend in backends:
            for decode in decodes:
                # A compiled step is the same behind every prefill, and takes long to compile.
                if decode == "compiled" and (backend != backends[0] or ratio != GQA_RATIOS[-1]):
                    continue
                asked = replace(work, decode=decode)
                check = check_work(asked, num_questions=2, attention=backend)
                found.append(
                    {"gqa_ratio": ratio, "backend": backend, "decode": decode, **asdict(check)}
                )
    return found


def timings(
    loaded: LoadedModel,
    shape: Shape,
    batch_size: int,
    backends: list[str],
    decodes: list[str],
    ceilings: Ceilings,
    repeats: int,
    clock: Clock,
) -> dict[str, list[Row]]:
    """All rivals at one batch size; what follows the first backend on the tree runs ours only."""
    work = plain_work(loaded, shape, batch_size)
    names = [
        name
        for name in RIVALS
        if name != "generate_five" or batch_size * shape.num_wordings <= MOST_ROWS
    ]
    rows = {}
    for backend in backends:
        for decode in decodes:
            way = f"{backend}, {decode}"
            try:
                rows[way] = _measured(
                    replace(work, decode=decode), names, backend, ceilings, repeats
                )
            except torch.OutOfMemoryError:
                clock.skipped.append(f"batch size {batch_size}, {way}: out of memory")
            names = list(OURS_AGAIN)
    return rows


def _measured(
    work: Work, names: list[str], backend: str, ceilings: Ceilings, repeats: int
) -> list[Row]:
    # In a function of its own: what the rivals hold is free before the next ones come.
    rivals = make_rivals(work, names, attention=backend)
    return summarise(work, measure(work, rivals, ceilings, repeats=repeats), ceilings)


def trace(work: Work, backend: str) -> dict[str, object]:
    """Which kernels one batch spends its time in, on the way to decode that the work says."""
    (rival,) = make_rivals(work, [TRACED], attention=backend)
    rival.prepare()
    list(rival.answer(work.max_new_tokens))
    on_gpu = work.loaded.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])
    start = time.perf_counter()
    with profile(activities=activities) as profiler:
        list(rival.answer(work.max_new_tokens))
        wait_for(work.loaded.device)
    wall_ms = 1e3 * (time.perf_counter() - start)
    name = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda one: getattr(one, name), reverse=True)
    total_us = sum(getattr(one, name) for one in events)
    return {
        "rival": TRACED,
        "decode": work.decode,
        "batch_size": work.batch_size,
        "wall_ms": wall_ms,
        # The rest of the wall-clock time the device waits for the host.
        "kernels_ms": total_us / 1e3,
        "top": [
            {
                "name": one.key[:100],
                "calls": one.count,
                "ms": getattr(one, name) / 1e3,
                "share": getattr(one, name) / total_us if total_us else 0.0,
            }
            for one in events[:TOP_KERNELS]
        ],
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny model, shape and batches")
    parser.add_argument("--architecture", help="default: llama3.2_3b")
    parser.add_argument("--shape", help="P,N,S,T; default: 300,5,30,20")
    parser.add_argument("--batch-sizes", help="default: 1,16,64,256")
    parser.add_argument("--backends", default="sdpa,flex", help="the first one runs all rivals")
    parser.add_argument("--decodes", default=",".join(DECODE), help="ways to decode")
    parser.add_argument("--dtype", help="default: bfloat16; with --tiny float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=7.5, help="time of the whole run")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> dict[str, object]:
    """Everything in order; see the module's text."""
    clock, console = Clock(options.minutes), Console(stderr=True, width=132, highlight=False)
    backends, decodes = options.backends.split(","), options.decodes.split(",")
    tiny = options.tiny
    shape = Shape.parse(options.shape or ("24,3,6,6" if tiny else "300,5,30,20"))
    batch_sizes = [
        int(n) for n in (options.batch_sizes or ("1,4" if tiny else "1,16,64,256")).split(",")
    ]
    traced_batch = max((n for n in batch_sizes if n <= TRACED_BATCH), default=min(batch_sizes))
    console.print("comparing backends with the oracle ...")
    checks = correctness(options.device, backends, decodes)
    loaded = random_model(
        options.architecture or ("tiny" if tiny else "llama3.2_3b"),
        device=options.device,
        dtype=options.dtype or ("float32" if tiny else "bfloat16"),
    )
    console.print(f"{clock.seconds:.0f} s: comparing {loaded.name} with the oracle ...")
    check = check_work(plain_work(loaded, shape, 2), num_questions=1, attention=backends[0])
    ceilings = Ceilings(loaded.device, loaded.dtype)
    ceilings.measure()
    timed: dict[str, object] = {}
    for batch_size in batch_sizes:
        if not clock.allows(f"batch size {batch_size}", 0.75):
            continue
        console.print(f"{clock.seconds:.0f} s: batches of {batch_size} ...")
        # Compiling takes about a minute a shape.
        ways = [one for one in decodes if one != "compiled" or batch_size == traced_batch]
        rows = timings(loaded, shape, batch_size, backends, ways, ceilings, options.repeats, clock)
        for way, found in rows.items():
            console.print(rows_view(f"B = {batch_size}, {way}", found, ratios(found)))
        timed[str(batch_size)] = {
            way: {
                row.name: {f: getattr(row, f) for f in Row.__dataclass_fields__} for row in found
            }
            for way, found in rows.items()
        }
    traced = []
    work = plain_work(loaded, shape, traced_batch)
    for decode in decodes:
        if clock.allows(f"trace, {decode}", 0.9):
            traced.append(trace(replace(work, decode=decode), backends[0]))
    document = {
        "schema": 2,
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]),
        "commit": commit(),
        "hardware": hardware(loaded.device),
        "versions": versions(),
        "model": {"name": loaded.name, "dtype": str(loaded.dtype).removeprefix("torch.")},
        "shape": shape,
        "correctness": checks,
        "check": asdict(check),
        "ceilings": {
            "flops_per_s": ceilings.flops_per_s,
            "bytes_per_s": ceilings.bytes_per_s,
        },
        "batch_sizes": timed,
        "traces": traced,
        "skipped": clock.skipped,
        "seconds": clock.seconds,
    }
    whole = plain(document)
    assert isinstance(whole, dict)
    return whole


def main(arguments: list[str]) -> int:
    """Run and print; returns the exit code."""
    try:
        document = run(parse(arguments))
    except UserError as error:
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        return 1
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    sys.exit(main(sys.argv[1:]))

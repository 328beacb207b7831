"""From laps to the numbers that are reported."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.ceilings import Ceilings
from benchmarks.measure import Measured
from benchmarks.roofline import ModelSizes, floor_seconds, num_bytes, num_flops
from benchmarks.work import Work


class Spread(NamedTuple):
    """Median and the 10th and 90th percentile over repetitions."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Of at least one value; nan for none."""
        listed = list(values)
        if not listed:
            return cls(math.nan, math.nan, math.nan)
        return cls(*(float(value) for value in np.percentile(listed, [50, 10, 90])))


@dataclass(frozen=True, slots=True)
class Row:
    """One rival's numbers; nan where one has no meaning.

    Attributes:
        name: The rival.
        is_ours: Whether it is this engine.
        num_questions: Questions per repetition.
        num_batches: In how many batches.
        num_repeats: Repetitions.
        ms_per_question: Milliseconds per question, the shared prefix included.
        questions_per_s: Its inverse.
        prefix_ms: Encoding the shared prefix, once per run.
        first_token_ms: From a batch to its first tokens, the shared prefix not included.
        step_ms: Each further token of a batch; nan where answers end early.
        tokens_per_question: Tokens through the model, padding and the shared prefix included.
        peak_bytes: Peak memory above what was held before.
        gflop_per_question: GFLOP that its answers need.
        floor_ms_per_question: Roofline of the whole job.
        roofline_share: Floor by time, of 1.
        prefill_flops_per_s: FLOP/s needed for first tokens, by the time they took.
        prefill_share: Of the measured matrix product.
        decode_bytes_per_s: Bytes that further tokens must read, by the time they took.
        decode_share: Of the measured copy.
    """

    name: str
    is_ours: bool
    num_questions: int
    num_batches: int
    num_repeats: int
    ms_per_question: Spread
    questions_per_s: Spread
    prefix_ms: float
    first_token_ms: Spread
    step_ms: Spread
    tokens_per_question: float
    peak_bytes: float
    gflop_per_question: float
    floor_ms_per_question: float
    roofline_share: float
    prefill_flops_per_s: float
    prefill_share: float
    decode_bytes_per_s: float
    decode_share: float


def summarise(work: Work, measured: Sequence[Measured], ceilings: Ceilings) -> list[Row]:
    """The reported numbers of every rival that has a lap."""
    sizes = ModelSizes.of(work.loaded.model)
    return [_row(work, one, ceilings, sizes) for one in measured if one.laps]


def _row(work: Work, one: Measured, ceilings: Ceilings, sizes: ModelSizes) -> Row:
    rival, laps = one.rival, one.laps
    totals = [lap.total_s / rival.num_questions for lap in laps]
    # Answers that end early have no common number of steps.
    num_steps = math.nan if work.ends_early else rival.num_batches * (work.max_new_tokens - 1)
    rates = _rates(one, ceilings, sizes)
    return Row(
        name=rival.name,
        is_ours=rival.is_ours,
        num_questions=rival.num_questions,
        num_batches=rival.num_batches,
        num_repeats=len(laps),
        ms_per_question=Spread.of(1e3 * total for total in totals),
        questions_per_s=Spread.of(1.0 / total for total in totals),
        prefix_ms=Spread.of(1e3 * lap.prefix_s for lap in laps).median
        if rival.encode_prefix
        else math.nan,
        first_token_ms=Spread.of(1e3 * lap.first_s / rival.num_batches for lap in laps),
        step_ms=Spread.of(
            1e3 * (lap.answers_s - lap.first_s) / num_steps for lap in laps if num_steps
        ),
        tokens_per_question=one.num_tokens / rival.num_questions,
        peak_bytes=one.peak_bytes,
        gflop_per_question=rates.gflop / rival.num_questions,
        floor_ms_per_question=1e3 * rates.floor_s / rival.num_questions,
        roofline_share=rates.floor_s / rival.num_questions / Spread.of(totals).median,
        prefill_flops_per_s=rates.prefill_flops_per_s,
        prefill_share=rates.prefill_flops_per_s / ceilings.flops_per_s,
        decode_bytes_per_s=rates.decode_bytes_per_s,
        decode_share=rates.decode_bytes_per_s / ceilings.bytes_per_s,
    )


class _Rates(NamedTuple):
    gflop: float
    floor_s: float
    prefill_flops_per_s: float
    decode_bytes_per_s: float


def _rates(one: Measured, ceilings: Ceilings, sizes: ModelSizes) -> _Rates:
    if one.needed is None:
        return _Rates(math.nan, math.nan, math.nan, math.nan)
    needed = one.needed
    first_s = Spread.of(lap.first_s for lap in one.laps).median
    later_s = Spread.of(lap.answers_s - lap.first_s for lap in one.laps).median
    decode_bytes = sum(num_bytes(sizes, step) for step in needed.decode)
    return _Rates(
        gflop=sum(num_flops(sizes, step) for step in needed.all) / 1e9,
        floor_s=floor_seconds(sizes, needed.all, ceilings.flops_per_s, ceilings.bytes_per_s),
        prefill_flops_per_s=sum(num_flops(sizes, step) for step in needed.prefill) / first_s,
        # Two runs are compared: where steps are nearly free, noise can exceed them.
        decode_bytes_per_s=decode_bytes / later_s if needed.decode and later_s > 0 else math.nan,
    )


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """How much faster one is than another, by median time per question; only of those measured."""
    ms = {row.name: row.ms_per_question.median for row in rows}
    pairs = [
        ("flex_attention", "published"),
        ("flex_attention", "generate_one"),
        ("flex_attention", "generate_five"),
        ("flex_attention", "causal_concat"),
        ("avg", "generate_five"),
        ("avg", "flex_attention"),
    ]
    found = {
        f"{fast} against {slow}": ms[slow] / ms[fast]
        for fast, slow in pairs
        if fast in ms and slow in ms
    }
    return found | _all_in_one_go(ms, rows)


def _all_in_one_go(ms: Mapping[str, float], rows: Sequence[Row]) -> dict[str, float]:
    single = [ms[row.name] for row in rows if row.is_ours and row.name != "all"]
    if "all" not in ms or not single:
        return {}
    return {"time of all methods in one go by the dearest single one": ms["all"] / max(single)}

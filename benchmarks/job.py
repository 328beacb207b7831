"""The benchmark from its options to its document: check, measure, show, write down."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from benchmarks.ceilings import Ceilings
from benchmarks.check import check_work
from benchmarks.document import (
    Outcome,
    machine_line,
    make_document,
    mean_segment,
    results_markdown,
    work_line,
)
from benchmarks.grow import GROWING, VALUES, Point, check_growth, grow
from benchmarks.line_up import RIVALS, check_names, make_rivals
from benchmarks.measure import measure
from benchmarks.plot import plot_rows
from benchmarks.random_models import random_model
from benchmarks.summary import Row, ratios, summarise
from benchmarks.view import LEGEND, growth_view, rows_view
from benchmarks.work import MOST, Shape, Work, demo_work, shape_work
from self_ensemble.captured.decode import check_decode
from self_ensemble.errors import UserError, reading
from self_ensemble.models.load import LoadedModel, load_model
from self_ensemble.models.packed_linear import can_pack
from self_ensemble.report.files import write_file
from self_ensemble.walking.sampling import Sampling

STOP = ("\n",)
# The lengths of WebQuestions prompts with 5 examples, for models that cannot read text.
DEFAULT_SHAPE = Shape(129, 5, 16, 20)
GIGA = 1e9


@dataclass(frozen=True, slots=True)
class BenchJob:
    """The options of `python -m benchmarks`, under their long names."""

    model: str = "smollm2_135m_it"
    random_weights: str | None = None
    shape: str | None = None
    num_paraphrases: int = 5
    num_shots: int = 5
    max_new_tokens: int = 20
    batch_size: int = 16
    questions: int | None = None
    rivals: tuple[str, ...] = RIVALS
    repeats: int = 3
    published_questions: int = 1
    published_repeats: int = 1
    check_questions: int = 2
    skip_stop_run: bool = False
    grow: str | None = None
    grow_values: tuple[int, ...] | None = None
    plain_layers: bool = False
    attention: str = "auto"
    decode: str = "tree"
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    plot: Path | None = None
    write_results: Path | None = None


def run_bench(job: BenchJob, command: list[str]) -> dict[str, object]:
    """Run the benchmark, print tables, write what was asked for.

    Returns:
        The document; the caller prints it last.

    Raises:
        UserError: An option that does not fit, or answers that are not the oracle's.
    """
    _check_options(job)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    with console.status("loading the model ...") as status:

        def report(line: str) -> None:
            if console.is_terminal:
                status.update(f"{line} ...")
            else:
                console.print(f"{line} ...")

        outcome = measure_all(job, _load(job), report)
    document = make_document(outcome, job.attention, command)
    _show(job, outcome)
    if job.plot is not None:
        plot_rows(job.plot, outcome.rows, work_line(outcome.work), machine_line(document))
    if job.write_results is not None:
        append_entry(job.write_results, results_markdown(document, outcome))
    return document


def measure_all(job: BenchJob, loaded: LoadedModel, report: Callable[[str], None]) -> Outcome:
    """Check the answers, then measure what the job asks for."""
    if job.plain_layers and not can_pack(loaded.device, loaded.dtype):
        raise UserError(
            f"--plain-layers changes nothing: {str(loaded.dtype).removeprefix('torch.')} layers "
            f"are not packed on {loaded.device}. Leave it out.",
            "SE-1101",
        )
    if job.decode == "compiled" and not job.plain_layers and can_pack(loaded.device, loaded.dtype):
        raise UserError(
            "--decode compiled cannot compile packed layers. Add --plain-layers.", "SE-1101"
        )
    work = replace(_work(job, loaded), packs_layers=not job.plain_layers, decode=job.decode)
    report("comparing answers with the oracle")
    check = check_work(work, num_questions=job.check_questions, attention=job.attention)
    ceilings = Ceilings(loaded.device, loaded.dtype)
    ceilings.measure()

    def rows(asked: Work, names: tuple[str, ...]) -> list[Row]:
        rivals = make_rivals(
            asked, names, attention=job.attention, published_questions=job.published_questions
        )
        measured = measure(
            asked, rivals, ceilings,
            repeats=job.repeats, published_repeats=job.published_repeats, report=report,
        )  # fmt: skip
        return summarise(asked, measured, ceilings)

    if job.grow is not None:
        points = _grow(job, work, ceilings, report)
        return Outcome(work, check, ceilings, [], [], job.grow, points)
    fixed = rows(work, job.rivals)
    stop_rows: list[Row] = []
    # Random tokens have no line breaks, and the published loop has no early end.
    names = tuple(name for name in job.rivals if name != "published")
    if names and not job.skip_stop_run and _is_text(job):
        stop_rows = rows(work.ending_early(STOP), names)
    return Outcome(work, check, ceilings, fixed, stop_rows, None, [])


def _check_options(job: BenchJob) -> None:
    check_names(job.rivals)
    check_decode(job.decode, Sampling())
    if job.shape is not None:
        Shape.parse(job.shape)
    _refuse_ignored(job)
    counts = {
        "--repeats": job.repeats,
        "--batch-size": job.batch_size,
        "--questions": 1 if job.questions is None else job.questions,
        "--max-new-tokens": job.max_new_tokens,
        "--check-questions": job.check_questions,
        "--published-questions": job.published_questions,
        "--published-repeats": job.published_repeats,
        "--threads": 1 if job.threads is None else job.threads,
    }
    for option, value in counts.items():
        if value < 1:
            raise UserError(f"Got {option} {value}. Give 1 or more.", "SE-1101")
        if value > MOST:
            raise UserError(f"Got {option} {value}. Give {MOST:,} or less.", "SE-1101")
    cores = os.cpu_count() or 1
    if job.threads is not None and job.threads > 8 * cores:
        raise UserError(
            f"Got --threads {job.threads} on {cores} cores. Give {8 * cores} or less.", "SE-1101"
        )
    if job.grow is not None:
        values = VALUES.get(job.grow, ()) if job.grow_values is None else job.grow_values
        check_growth(job.grow, values)


def _refuse_ignored(job: BenchJob) -> None:
    """An option that would change nothing is refused: it would seem to have been measured."""
    if not _is_text(job):
        for name in ("num_paraphrases", "num_shots", "max_new_tokens"):
            if getattr(job, name) != getattr(BenchJob(), name):
                option = "--" + name.replace("_", "-")
                raise UserError(
                    f"{option} is for the bundled questions. Random tokens get their lengths from "
                    "--shape P,N,S,T.",
                    "SE-1101",
                )
    if job.random_weights is not None and job.model != BenchJob().model:
        raise UserError("Got --model and --random-weights. Give one of them.", "SE-1101")
    if job.grow is not None and job.plot is not None:
        raise UserError(
            "--plot draws the rivals of one work, not growth. Leave out --plot.", "SE-1101"
        )
    if job.grow is None and job.grow_values is not None:
        raise UserError("--grow-values needs --grow. Say what should grow.", "SE-1101")


def _is_text(job: BenchJob) -> bool:
    return job.shape is None and job.random_weights is None


def _load(job: BenchJob) -> LoadedModel:
    if job.random_weights is not None:
        return random_model(
            job.random_weights, device=job.device, dtype=job.dtype, attention=job.attention
        )
    return load_model(
        job.model,
        device=job.device,
        dtype=job.dtype,
        attention=job.attention,
        packed=False,  # the rivals run on plain layers; ours packs them
    )


def _work(job: BenchJob, loaded: LoadedModel) -> Work:
    num_questions = job.batch_size if job.questions is None else job.questions
    if not _is_text(job):
        shape = DEFAULT_SHAPE if job.shape is None else Shape.parse(job.shape)
        return shape_work(
            loaded, shape, num_questions=num_questions, batch_size=job.batch_size,
        )  # fmt: skip
    return demo_work(
        loaded,
        num_questions=num_questions,
        num_wordings=job.num_paraphrases,
        num_shots=job.num_shots,
        max_new_tokens=job.max_new_tokens,
        batch_size=job.batch_size,
    )


def _grow(
    job: BenchJob, work: Work, ceilings: Ceilings, report: Callable[[str], None]
) -> list[Point]:
    assert job.grow is not None
    shape = Shape(
        len(work.frame.prefix), work.num_wordings, round(mean_segment(work)), work.max_new_tokens
    )
    return grow(
        work, job.grow, job.grow_values or VALUES[job.grow], shape, ceilings,
        names=GROWING if job.rivals == RIVALS else job.rivals,
        attention=job.attention, repeats=job.repeats, report=report,
    )  # fmt: skip


def _show(job: BenchJob, outcome: Outcome) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=132, highlight=False)
    check, ceilings = outcome.check, outcome.ceilings
    console.print(work_line(outcome.work))
    console.print(
        f"Answers are right: {check.num_tokens} tokens of {check.num_questions} questions are the "
        f"oracle's, {check.num_rows} rows are those of generate ({check.num_ties} ties)."
    )
    if outcome.work.loaded.dtype != torch.float32:
        console.print(
            f"{100 * check.equal_tokens:.1f} % of the tokens in the timed type are float32's."
        )
    console.print(
        f"Ceilings: {ceilings.flops_per_s / GIGA:,.0f} GFLOP/s, "
        f"{ceilings.bytes_per_s / GIGA:,.1f} GB/s."
    )
    if outcome.rows:
        title = f"Fixed work: {outcome.work.max_new_tokens} tokens per answer"
        console.print(rows_view(title, outcome.rows, ratios(outcome.rows)))
    if outcome.stop_rows:
        title = "The same prompts, answers end at a stop string"
        console.print(rows_view(title, outcome.stop_rows, ratios(outcome.stop_rows)))
    if outcome.points:
        assert job.grow is not None
        console.print(growth_view(job.grow, outcome.points))
    console.print(Text(LEGEND, style="dim"))


def append_entry(path: Path, entry: str) -> None:
    """Append an entry to a file of results; what earlier benchmarks have told stays in it.

    Raises:
        UserError: It cannot be read or written.
    """
    before = ""
    if path.exists():
        with reading(path, "Choose another --write-results."):
            before = path.read_text("utf-8").rstrip() + "\n\n"
    write_file(path, before + entry)


def print_document(document: dict[str, object]) -> None:
    """Write the document as one line, the last of standard output."""
    sys.stdout.write(json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n")

"""What `paraphrase` does once its options are read."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from self_ensemble.asking import Settings
from self_ensemble.batches import Outcome
from self_ensemble.cli.filling import fill, say_repaired
from self_ensemble.cli.setup import (
    DataOptions,
    ModelOptions,
    default_batch_size,
    message_console,
    page_console,
)
from self_ensemble.decoding.choose import Sampling
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.finite_rows import FiniteRows
from self_ensemble.models.load import LoadedModel
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.report.wordings import summary_lines, wordings_view
from self_ensemble.results.manifest import Manifest
from self_ensemble.run import sha256_of
from self_ensemble.wordings.checks import AnswerCheck
from self_ensemble.wordings.draw import Check, Rewriter, human_pools
from self_ensemble.wordings.entailment import load_entailment
from self_ensemble.wordings.pool import Pool
from self_ensemble.wordings.rows import summarise
from self_ensemble.wordings.run import Output, read_rows, reword_batch, wordings_manifest


@dataclass(frozen=True, slots=True)
class ParaphraseJob:
    """The options of `paraphrase`, under their long names.

    Attributes:
        num: Wordings to keep; None keeps all that pass (with `human`).
    """

    data: DataOptions
    model: ModelOptions
    output: Path
    num: int | None
    human: bool
    check: str
    nli_model: str | None
    nli_threshold: float
    tries: int
    temperature: float
    top_p: float
    batch_size: int | None
    overwrite: bool
    repair: bool
    as_json: bool
    show: int


@dataclass(frozen=True, slots=True)
class _Maker:
    """What makes the candidates of questions, and what they depend on."""

    pools: Callable[[Sequence[Question]], list[Pool]]
    manifest: Manifest
    batch_size: int


def run_paraphrase_job(job: ParaphraseJob) -> int:
    """Write the wordings of a data set; returns the exit code."""
    console = message_console(as_json=job.as_json)
    output = Output.of(job.output, [Path(job.data.dataset)])
    question_set = job.data.load()
    if job.human and all(len(question.wordings) < 2 for question in question_set.questions):
        raise UserError(
            f"No question of {question_set.name} has another wording than its original, so there "
            "is nothing for --human to take. Leave it out to draw wordings."
        )
    maker = _maker(job, question_set, console)
    uuids = [question.uuid for question in question_set.questions]
    with output.open(maker.manifest, uuids, overwrite=job.overwrite, repair=job.repair) as file:
        say_repaired([file])
        outcome = Outcome(0, math.nan, 0)
        if file.finished:
            console.print("Finished already.")
        else:
            outcome = fill(
                [file],
                question_set.questions,
                partial(
                    reword_batch,
                    make_pools=maker.pools,
                    num=job.num,
                    file=FiniteRows(file, len(question_set.questions), "wordings"),
                ),
                batch_size=job.batch_size or maker.batch_size,
                may_shrink=job.batch_size is None,
                console=console,
                doing="rewording",
            )
        if outcome.signal_exit_code:
            return outcome.signal_exit_code
        for line in output.export(repair=job.repair):
            typer.echo(line, err=True)
    return _report(job, output, outcome.seconds, console)


def show_file(path: Path, num_shown: int) -> int:
    """Show the first questions of a finished file; returns the exit code."""
    store = Output.of(path).store
    if not store.exists():
        raise UserError(f"{store} does not exist. Give --dataset to make it, or another --output.")
    _show(read_rows(store)[:num_shown])
    return 0


def _maker(job: ParaphraseJob, question_set: QuestionSet, console: Console) -> _Maker:
    sampling = Sampling(job.temperature, job.top_p, job.data.seed)
    needs_model = not job.human or job.check == "answer"
    model = job.model.load(console) if needs_model else None
    device = job.model.device if job.model.device != "auto" else "cpu"
    if model is not None:
        device = str(model.device)
    answering = None
    check: Check | None = None
    nli: dict[str, object] | None = None
    if job.check == "answer":
        assert model is not None
        answering = _answering(model, question_set)
        check = AnswerCheck(answering)
    elif job.check == "nli":
        assert job.nli_model is not None  # the command refuses it
        with console.status(f"Loading {job.nli_model} ..."):
            check = load_entailment(job.nli_model, job.nli_threshold, device)
            nli = check.identity()
    options: dict[str, object] = {
        "num": job.num,
        "human": job.human,
        "check": job.check,
        "nli_model": job.nli_model,
        "max_samples": job.data.max_samples,
        "offset": job.data.offset,
        "num_shots": job.data.num_shots,
        "seed": job.data.seed,
        "batch_size": job.batch_size,
        "check_prompt_sha256": None
        if answering is None
        else sha256_of(answering.frame.identity()),
        "nli_threshold": job.nli_threshold if job.check == "nli" else None,
    }
    if job.human:
        backend = None if answering is None else answering.engine.backend_name
        manifest = wordings_manifest(question_set, model, backend, options, human=True, nli=nli)
        return _Maker(partial(human_pools, check=check), manifest, 16)
    assert model is not None
    rewriter = Rewriter(model, num=job.num or 0, tries=job.tries, sampling=sampling, check=check)
    options |= {"tries": job.tries, **asdict(sampling)}
    manifest = wordings_manifest(
        question_set, model, rewriter.backend, options, human=False, nli=nli
    )
    # Twice: most of a round's samples end early, and the few that go on fill no batch.
    return _Maker(rewriter.draw, manifest, 2 * default_batch_size(model))


def _answering(model: LoadedModel, question_set: QuestionSet) -> Ensemble:
    """The ensemble that answers for `--check answer`, as `generate --method origin` does."""
    return Ensemble(
        model,
        "origin",
        frame=plain_frame(
            model.tokenizer, question_set.instruction, question_set.shots, question_set.framing
        ),
        settings=Settings(max_new_tokens=question_set.max_new_tokens, stop=question_set.stop),
    )


def _report(job: ParaphraseJob, output: Output, seconds: float, console: Console) -> int:
    rows = read_rows(output.store)
    summary = summarise(rows)
    files = list(dict.fromkeys([output.named, output.store]))
    if job.as_json:
        line = {
            "files": [str(file) for file in files],
            **asdict(summary),
            "seconds": None if math.isnan(seconds) else round(seconds, 3),
        }
        sys.stdout.write(json.dumps(line) + "\n")
    else:
        _show(rows[: job.show])
        console.print(f"Wordings: {', '.join(str(file) for file in files)}")
        for text in summary_lines(summary, job.num, seconds):
            console.print(text)
    return 3 if summary.errors else 0


def _show(rows: Sequence[dict[str, object]]) -> None:
    console = page_console()
    for row in rows:
        console.print(wordings_view(row))
        console.print()

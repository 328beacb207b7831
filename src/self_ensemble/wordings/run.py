"""A run that writes wordings: batches of questions in, rows on disk, resumable at any point.

webqa.feather     the result: all rows, and what they were made with in its metadata
webqa.run/        finished batches, while the run goes on
webqa.jsonl       the same rows as text, where the user asked for a .jsonl file
webqa.jsonl.sha256      its checksum, as `sha256sum` writes it; delete it to change rows by hand
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import DamagedError, sidecar, sidecar_content
from self_ensemble.models.identity import identity_of, versions
from self_ensemble.models.load import LoadedModel
from self_ensemble.prompts.tokens import PROMPT_TOKENS
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.disk import (
    check_writable,
    naming_disk_errors,
    read_table,
    temp_path,
    write_atomically,
)
from self_ensemble.results.manifest import IDENTITY, Manifest
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.shards import run_folder, set_aside
from self_ensemble.results.store import ResultFile
from self_ensemble.running.batches import BatchProgress
from self_ensemble.running.finite_rows import FiniteRows, end_if
from self_ensemble.running.made_with import sha256_of
from self_ensemble.wordings.pool import Pool
from self_ensemble.wordings.rows import PARAPHRASE_SCHEMA, paraphrase_row, to_jsonl
from self_ensemble.wordings.styles import STYLES

# Wordings do not depend on these: questions and models are compared by content, wherever they
# lie.
MAY_DIFFER = frozenset({"batch_size", "data_source", "model", "model_revision", "nli_model"})
# For messages that say how another place is chosen.
OUTPUT = "--output"


@dataclass(frozen=True, slots=True)
class Output:
    """The file that the user named, and the feather file that holds the result.

    Attributes:
        named: What the user named, .jsonl or .feather.
        store: The feather file; the same one, or beside it with the same stem.
    """

    named: Path
    store: Path

    @classmethod
    def of(cls, path: Path, inputs: Sequence[Path] = ()) -> "Output":
        """The files of an output path.

        Args:
            path: What the user named.
            inputs: Files that are read, which must not be written over.

        Raises:
            UserError: Another kind of file, or one that is read.
        """
        if path.suffix not in (".jsonl", ".feather"):
            raise UserError(f"Got --output {path}. Give a file that ends in .jsonl or .feather.")
        output = cls(path, path.with_suffix(".feather"))
        for written in (output.named, output.store):
            with naming_disk_errors(written, OUTPUT):
                same = [one for one in inputs if written.exists() and one.exists()]
                if any(written.samefile(one) for one in same):
                    raise UserError(
                        f"--output {path} would write over {written}, which is the data set. "
                        "Choose another name."
                    )
        return output

    def open(
        self, manifest: Manifest, uuids: Sequence[str], *, overwrite: bool, repair: bool
    ) -> ResultFile:
        """Begin the result, go on with an interrupted one, or find that it is finished.

        Args:
            manifest: What it depends on.
            uuids: The questions.
            overwrite: Start anew.
            repair: Set aside what is damaged, so that it is made again.

        Raises:
            UserError: There is something else in its place.
        """
        check_writable(self.store.parent, OUTPUT)
        with naming_disk_errors(self.named, OUTPUT):
            ours = (self.store, run_folder(self.store), sidecar(self.named))
            if self.named.exists() and not overwrite and not any(map(Path.exists, ours)):
                raise UserError(
                    f"{self.named} is there already, without the {self.store.name} that a "
                    "run leaves beside it. Move it away, use --overwrite to replace it, or "
                    "choose another --output."
                )
        file = ResultFile.open(
            self.store,
            manifest,
            RowPlan(PARAPHRASE_SCHEMA, tuple(uuids)),
            may_differ=MAY_DIFFER,
            overwrite=overwrite,
            repair=repair,
            output_option=OUTPUT,
        )
        if overwrite and self.named != self.store:
            with naming_disk_errors(self.named, OUTPUT):
                self.named.unlink(missing_ok=True)
        return file

    def export(self, *, repair: bool) -> tuple[str, ...]:
        """Write the .jsonl file, if it was asked for, with its checksum beside it.

        Args:
            repair: Whether one that holds something else is set aside and written anew.

        Returns:
            What was set aside, a line each.

        Raises:
            UserError: It is there and holds something else.
        """
        if self.named == self.store:
            return ()
        content = to_jsonl(read_rows(self.store))
        aside: tuple[str, ...] = ()
        torn = [temp_path(file) for file in (self.named, sidecar(self.named))]
        with naming_disk_errors(self.named, OUTPUT):
            for file in torn:
                file.unlink(missing_ok=True)
            there = self.named.read_bytes() if self.named.exists() else None
            if there is not None and there != content:
                fault = f"it holds something else than {self.store.name} beside it"
                if not repair:
                    raise DamagedError(
                        self.named,
                        fault,
                        "Move it away, or use --repair to set it aside and write it anew.",
                    )
                aside = (set_aside(self.named, fault),)
            # First, so that the file is never there without it.
            write_atomically(sidecar(self.named), sidecar_content(self.named, content))
            if there != content:
                write_atomically(self.named, content)
        return aside


def read_rows(store: Path) -> list[dict[str, Any]]:
    """The rows of a finished file of wordings.

    Raises:
        UserError: It is no such file.
    """
    table = read_table(store, "Run `self-ensemble paraphrase` again with --repair.")
    if table.schema.names != PARAPHRASE_SCHEMA.names:
        raise UserError(f"{store} is no file of wordings. Give one that `paraphrase` has written.")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def wordings_manifest(
    question_set: QuestionSet,
    model: LoadedModel | None,
    backend: str | None,
    options: dict[str, object],
    *,
    human: bool,
    nli: dict[str, object] | None = None,
) -> Manifest:
    """What the wordings depend on; a change of any of it is refused on resume.

    Args:
        question_set: The questions.
        model: The model that rewords or checks, if any does.
        backend: The attention backend that it runs with.
        options: The user's options.
        human: Whether the data set's own wordings are taken, so that they count.
        nli: What the entailment model is, if one checks.
    """
    asked = [
        (question.uuid, question.wordings if human else question.wordings[:1], question.answers)
        for question in question_set.questions
    ]
    return Manifest(
        {
            "kind": "paraphrases",
            "model": None if model is None else model.name,
            "model_revision": None if model is None else model.revision,
            IDENTITY: {
                "rewording": None if model is None else identity_of(model),
                "entailment": nli,
            },
            "dtype": None if model is None else str(model.dtype).removeprefix("torch."),
            "device": None if model is None else model.device.type,
            "attention": backend,
            "dataset": question_set.name,
            "data_source": question_set.source,
            "questions_sha256": sha256_of(asked),
            "prompt_tokens": None if model is None else PROMPT_TOKENS,
            "styles_sha256": None if human else sha256_of([asdict(style) for style in STYLES]),
            **options,
            "versions": versions(model),
        }
    )


def reword_batch(
    batch: Sequence[Question],
    *,
    make_pools: Callable[[Sequence[Question]], list[Pool]],
    file: FiniteRows,
    num: int | None,
) -> BatchProgress:
    """Choose wordings of a batch of questions and put the rows on disk.

    Args:
        batch: The questions.
        make_pools: Gives the candidates of some questions.
        file: The open, unfinished file.
        num: Wordings to keep; None keeps all that passed.

    Raises:
        UserError: Nothing of the run so far is finite.
    """
    started = time.perf_counter()
    pools = make_pools(batch)
    not_finite = {p.question.uuid: p.error for p in pools if p.not_finite and p.error is not None}
    end_if([file.append([paraphrase_row(pool, num) for pool in pools], not_finite)])
    num_errors = sum(pool.error is not None for pool in pools)
    return BatchProgress(len(batch), num_errors, time.perf_counter() - started)

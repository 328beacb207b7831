"""The files of a run that writes wordings, which can be gone on with at any point.

webqa.feather     the result: all rows, and what they were made with in its metadata
webqa.run/        finished batches, while the run goes on
webqa.jsonl       the same rows as text, where the user asked for a .jsonl file
webqa.jsonl.sha256      its checksum, as `sha256sum` writes it; delete it to change rows by hand
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import DamagedError, sha256_of, sidecar, sidecar_content
from self_ensemble.questions.schema import Question
from self_ensemble.results.disk import (
    check_writable,
    naming_disk_errors,
    read_table,
    temp_path,
    write_atomically,
)
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.shards import run_folder, set_aside
from self_ensemble.results.store import ResultFile
from self_ensemble.wordings.rows import PARAPHRASE_SCHEMA, to_jsonl

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
            raise UserError(
                f"Got --output {path}. Give a file that ends in .jsonl or .feather.", "SE-0014"
            )
        output = cls(path, path.with_suffix(".feather"))
        for written in (output.named, output.store):
            with naming_disk_errors(written, OUTPUT):
                same = [one for one in inputs if written.exists() and one.exists()]
                if any(written.samefile(one) for one in same):
                    raise UserError(
                        f"--output {path} would write over {written}, which is the data set. "
                        "Choose another name.",
                        "SE-0014",
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
                    "choose another --output.",
                    "SE-0204",
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
        raise UserError(
            f"{store} is no file of wordings. Give one that `paraphrase` has written.", "SE-0204"
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def asked_sha256(questions: Sequence[Question], *, human: bool) -> str:
    """What is reworded, as a manifest has it.

    Args:
        questions: The questions.
        human: Whether the data set's own wordings are taken, so that they count.
    """
    return sha256_of(
        [(q.uuid, q.wordings if human else q.wordings[:1], q.answers) for q in questions]
    )

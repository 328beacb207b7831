"""One result on disk: shards while it is made, one feather file when it is finished.

    flex_attention-5.run/manifest.json            what the run was begun with
    flex_attention-5.run/shard-00000.feather      a finished batch
    flex_attention-5.run/shard-00001.feather
    .flex_attention-5.lock                        while a process has it open
        |
        |  finish: the file below appears whole, then the folder goes
        v
    flex_attention-5.feather                      all rows; the manifest is in its metadata

A kill may come between any two steps, so each step leaves a state that `ResultFile.open` reads
correctly. The manifest appears before the first shard and goes after the last, so shards always
have one; the final file is there before the first shard goes, so where it exists it alone counts.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from self_ensemble.errors import UserError
from self_ensemble.results.disk import (
    OUTPUT_DIR,
    check_writable,
    naming_disk_errors,
    read_table,
    sync_folder,
    write_table,
)
from self_ensemble.results.lock import FileLock
from self_ensemble.results.manifest import Manifest, require_same
from self_ensemble.results.schema import rows_to_table

MANIFEST_KEY = b"self_ensemble_manifest"
MANIFEST_NAME = "manifest.json"
SHARD_NAME = re.compile(r"shard-(\d+)\.feather")


class ResultFile:
    """A result that is being made, or is finished. Made by `ResultFile.open`; to be closed.

    Attributes:
        path: The final file.
        manifest: What the run was begun with; on resume the one on disk.
        finished: Whether the final file is there, with all rows.
        done: Uuids of the questions whose rows are on disk.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        schema: pa.Schema,
        *,
        finished: bool,
        output_option: str,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.finished = finished
        self._schema = schema
        self._output_option = output_option
        self._run = _run_folder(path)
        self._closing = ExitStack()
        shards = [] if finished else _shards(self._run)
        self._next_shard = 1 + max((_shard_number(shard) for shard in shards), default=-1)
        self.done = _uuids([path] if finished else shards, schema, output_option)

    @classmethod
    def open(
        cls,
        path: Path,
        manifest: Manifest,
        *,
        schema: pa.Schema,
        may_differ: Set[str] = frozenset(),
        overwrite: bool = False,
        output_option: str = OUTPUT_DIR,
    ) -> Self:
        """Begin a result, go on with an interrupted one, or find that it is finished.

        Args:
            path: The final file, `*.feather`.
            manifest: What is asked for now.
            schema: Columns of the rows.
            may_differ: Manifest fields that may have changed since the run was begun.
            overwrite: Delete what there is and start anew. It is deleted here, at once.
            output_option: The option with which the user chose the place, for messages.

        Raises:
            UserError: The result was made with other options, is held by another process, is
                damaged, is not ours, or its folder cannot be written.
        """
        check_writable(path.parent, output_option)
        with ExitStack() as on_error, naming_disk_errors(path, output_option):
            lock = FileLock.acquire(path.with_name(f".{path.stem}.lock"), output_option)
            on_error.callback(lock.release)
            if overwrite:
                _remove_run(_run_folder(path))
                path.unlink(missing_ok=True)
                sync_folder(path.parent)
            finished = path.exists()
            if finished:
                begun_with = read_manifest(path, output_option)
                require_same(begun_with, manifest, may_differ, path, output_option)
                _remove_run(_run_folder(path))
            else:
                begun_with = _begin_or_resume(
                    _run_folder(path), manifest, may_differ, output_option
                )
            result = cls(path, begun_with, schema, finished=finished, output_option=output_option)
            result._closing = on_error.pop_all()
        return result

    def append(self, rows: Sequence[Mapping[str, object]]) -> int:
        """Put the rows of one batch on disk, all of them or none.

        Rows of a question that is done are left out: when a run of several methods is killed
        after the first method's shard, its batch is computed again for all of them.

        Args:
            rows: Rows with the schema's columns. All rows of a question belong in one call.

        Returns:
            The number of rows written.

        Raises:
            ValueError: A row does not fit the schema, or is there twice.
            UserError: The disk refuses.
        """
        assert not self.finished, f"{self.path} is finished"
        new = [row for row in rows if row.get("uuid") not in self.done]
        keys = {(row.get("uuid"), row.get("paraphrase_index")) for row in new}
        if len(keys) != len(new):
            raise ValueError(f"A batch of {len(new)} rows has only {len(keys)} different ones.")
        if not new:
            return 0
        table = rows_to_table(new, self._schema)
        shard = self._run / f"shard-{self._next_shard:05d}.feather"
        with naming_disk_errors(shard, self._output_option):
            write_table(shard, table, temp_folder=self._run)
        self._next_shard += 1
        self.done |= frozenset(table["uuid"].to_pylist())
        return len(new)

    def finish(self, order: Sequence[str]) -> None:
        """Merge the shards into the final file; does nothing where it is there already.

        Args:
            order: The uuids of all questions, in the data set's order.

        Raises:
            ValueError: `order` is not exactly the questions that are done.
            UserError: The disk refuses, or a shard is damaged.
        """
        if self.finished:
            return
        if len(set(order)) != len(order) or self.done != set(order):
            raise ValueError(
                f"{self.path} has {len(self.done)} of {len(order)} questions, "
                f"{len(self.done - set(order))} of them not in the order given."
            )
        tables = [
            _read_rows(shard, self._schema, self._output_option) for shard in _shards(self._run)
        ]
        merged = pa.concat_tables([self._schema.empty_table(), *tables]).combine_chunks()
        positions = defaultdict(list)
        for position, uuid in enumerate(merged["uuid"].to_pylist()):
            positions[uuid].append(position)
        in_order = [position for uuid in order for position in positions[uuid]]
        ordered = merged.take(pa.array(in_order, pa.int64()))
        with_manifest = ordered.replace_schema_metadata(
            {MANIFEST_KEY: self.manifest.to_json().encode()}
        )
        with naming_disk_errors(self.path, self._output_option):
            # Made in the run folder, so that a kill leaves no torn file among the results.
            write_table(self.path, with_manifest, temp_folder=self._run)
            self.finished = True
            _remove_run(self._run)

    def close(self) -> None:
        """Let other processes open the result; what is on disk stays as it is."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_manifest(path: Path, output_option: str = OUTPUT_DIR) -> Manifest:
    """Read what a finished result was made with.

    Raises:
        UserError: The file is no result of this program.
    """
    metadata = read_table(path).schema.metadata or {}
    if MANIFEST_KEY not in metadata:
        raise UserError(
            f"{path} was not made by self-ensemble (it has no manifest). Move it away, "
            f"use --overwrite to replace it, or choose another {output_option}."
        )
    return Manifest.from_json(metadata[MANIFEST_KEY], path, output_option)


def _begin_or_resume(
    run: Path, manifest: Manifest, may_differ: Set[str], output_option: str
) -> Manifest:
    """Make the run folder ready for shards; returns the manifest it was begun with."""
    run.mkdir(exist_ok=True)
    sync_folder(run.parent)
    for torn in run.glob("*.tmp"):
        torn.unlink()
    manifest_path = run / MANIFEST_NAME
    if manifest_path.exists():
        begun_with = Manifest.read(manifest_path, output_option)
        require_same(begun_with, manifest, may_differ, run, output_option)
        return begun_with
    if _shards(run):
        raise UserError(
            f"{run} has shards but no {MANIFEST_NAME}, so what made them is unknown. "
            f"Use --overwrite to start anew, or another {output_option}."
        )
    manifest.write(manifest_path)
    return manifest


def _remove_run(run: Path) -> None:
    # Shards first: rmtree has no fixed order, and shards without a manifest could not be resumed.
    for shard in _shards(run):
        shard.unlink()
    if run.exists():
        shutil.rmtree(run)


def _run_folder(path: Path) -> Path:
    return path.with_suffix(".run")


def _shards(run: Path) -> list[Path]:
    return sorted(
        (file for file in run.glob("*") if SHARD_NAME.fullmatch(file.name)), key=_shard_number
    )


def _shard_number(shard: Path) -> int:
    match = SHARD_NAME.fullmatch(shard.name)
    assert match is not None, shard
    return int(match.group(1))


def _read_rows(file: Path, schema: pa.Schema, output_option: str) -> pa.Table:
    table = read_table(file)
    if not table.schema.equals(schema):
        raise UserError(
            f"{file} has other columns than this version of self-ensemble writes. "
            f"Use --overwrite to start anew, or another {output_option}."
        )
    return table.replace_schema_metadata(None)


def _uuids(files: Sequence[Path], schema: pa.Schema, output_option: str) -> frozenset[str]:
    """Collect the uuids of all files; each file must have its own."""
    seen: set[str] = set()
    for file in files:
        uuids = set(_read_rows(file, schema, output_option)["uuid"].to_pylist())
        if seen & uuids:
            raise UserError(
                f"{file} repeats rows of an earlier shard, for example uuid "
                f"{min(seen & uuids)!r}. Delete it, or use --overwrite to start anew."
            )
        seen |= uuids
    return frozenset(seen)

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

A column that came with a later version than the one that began the run is left out of it.

Every file carries its checksum, a shard its number and the digest of the manifest, and a result is
finished when its rows, read from the disk, are exactly those that the questions ask for.
"""

from collections.abc import Sequence, Set
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
    sync,
    temp_path,
    write_table,
)
from self_ensemble.results.lock import FileLock
from self_ensemble.results.manifest import MANIFEST_KEY, Manifest
from self_ensemble.results.plan import RowPlan, positions
from self_ensemble.results.resume import Damage, begun_manifest, finished_manifest, sound_shards
from self_ensemble.results.shards import next_number, remove_run, run_folder, write_shard


class ResultFile:
    """A result that is being made, or is finished. Made by `ResultFile.open`; to be closed.

    Attributes:
        path: The final file.
        manifest: What the run was begun with; on resume the one on disk.
        finished: Whether the final file is there, with all rows.
        repaired: What was set aside when it was opened, a line each.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        plan: RowPlan,
        *,
        finished: bool,
        done: Set[str],
        repaired: Sequence[str],
        made_with: str,
        output_option: str,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.finished = finished
        self._done = set(done)
        self.repaired = tuple(repaired)
        self._plan = plan
        self._made_with = made_with
        self._output_option = output_option
        self._run = run_folder(path)
        self._next_shard = next_number(self._run)
        self._closing = ExitStack()

    @classmethod
    def open(
        cls,
        path: Path,
        manifest: Manifest,
        plan: RowPlan,
        *,
        may_differ: Set[str] = frozenset(),
        overwrite: bool = False,
        repair: bool = False,
        output_option: str = OUTPUT_DIR,
    ) -> Self:
        """Begin a result, go on with an interrupted one, or find that it is finished.

        Args:
            path: The final file, `*.feather`.
            manifest: What is asked for now.
            plan: The rows that the finished result has.
            may_differ: Manifest fields that may have changed since the run was begun.
            overwrite: Delete what there is and start anew. It is deleted here, at once.
            repair: Set aside what is damaged, so that it is made again.
            output_option: The option with which the user chose the place, for messages.

        Raises:
            UserError: The result was made with other options, is held by another process, is
                damaged, is not ours, or its folder cannot be written.
        """
        check_writable(path.parent, output_option)
        remedy = (
            "Use --repair to set it aside and make it again, --overwrite to start anew, or "
            f"another {output_option}."
        )
        damage = Damage(repair, remedy)
        with ExitStack() as on_error, naming_disk_errors(path, output_option):
            lock = FileLock.acquire(path.with_name(f".{path.stem}.lock"), output_option)
            on_error.callback(lock.close)
            temp_path(path).unlink(missing_ok=True)
            if overwrite:
                remove_run(run_folder(path))
                path.unlink(missing_ok=True)
                sync(path.parent)
            made_with = manifest.digest(may_differ)
            begun_with = finished_manifest(path, manifest, plan, may_differ, damage, output_option)
            finished = begun_with is not None
            if begun_with is None:
                begun_with = begun_manifest(
                    run_folder(path), manifest, may_differ, damage, output_option
                )
                shards = sound_shards(run_folder(path), made_with, plan, damage)
                done = {uuid for table in shards for uuid in table["uuid"].to_pylist()}
            else:
                remove_run(run_folder(path))
                done = set(plan.uuids)
            result = cls(
                path, begun_with, plan, finished=finished, done=done,
                repaired=damage.lines, made_with=made_with, output_option=output_option,
            )  # fmt: skip
            result._closing = on_error.pop_all()
        return result

    @property
    def done(self) -> Set[str]:
        """Uuids of the questions whose rows are on disk; it grows with them."""
        return self._done

    def append(self, rows: pa.Table) -> int:
        """Put the rows of some questions on disk, all of them or none.

        Rows of a question that is done are left out: when a run of several methods is killed
        after the first method's shard, its batch is computed again for all of them.

        Args:
            rows: With the plan's columns. All rows of a question belong in one call.

        Returns:
            The number of rows written.

        Raises:
            ValueError: They are not rows of the plan.
            UserError: The disk refuses.
        """
        assert not self.finished, f"{self.path} is finished"
        uuids = rows["uuid"].to_pylist()
        if not self._done.isdisjoint(uuids):
            rows = rows.filter(pa.array([uuid not in self._done for uuid in uuids]))
        if not len(rows):
            return 0
        fault = self._plan.fault(rows)
        if fault is not None:
            raise ValueError(f"A batch of {len(rows)} rows does not fit {self.path}: {fault}.")
        with naming_disk_errors(self._run, self._output_option):
            write_shard(self._run, self._next_shard, rows, self._made_with)
        self._next_shard += 1
        self._done.update(uuids)
        return len(rows)

    def finish(self) -> None:
        """Merge the shards into the final file; does nothing where it is there already.

        Raises:
            ValueError: A question has not been answered.
            UserError: The disk refuses, or rows that were put on it are damaged or gone.
        """
        if self.finished:
            return
        uuids = self._plan.uuids
        if self.done != set(uuids):
            raise ValueError(f"{self.path} has {len(self.done)} of {len(uuids)} questions.")
        with naming_disk_errors(self.path, self._output_option):
            # From the disk, not from memory: other programs have been at it as well.
            refuse = Damage(repair=False, remedy="Run the same command again with --repair.")
            shards = sound_shards(self._run, self._made_with, self._plan, refuse)
            tables = [self._plan.schema.empty_table(), *shards]
            # Columns that all rows have. A mean over one that an earlier version did not write
            # when it began the run would look like a mean over all of them.
            names = [
                n for n in self._plan.schema.names if all(n in t.column_names for t in tables)
            ]
            merged = pa.concat_tables([t.select(names) for t in tables]).combine_chunks()
            places = positions(merged)
            lost = set(uuids) - places.keys()
            if lost:
                raise UserError(
                    f"{self._run} has lost the rows of {len(lost)} of {len(uuids)} questions: "
                    "something else has removed shards while the run went on. Run the same "
                    "command again to ask them again.",
                    "SE-0710",
                )
            in_order = [position for uuid in uuids for position in places[uuid]]
            ordered = merged.take(pa.array(in_order, pa.int64()))
            write_table(self.path, ordered, {MANIFEST_KEY: self.manifest.to_json().encode()})
            self.finished = True
            remove_run(self._run)

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

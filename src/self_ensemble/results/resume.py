"""What of an interrupted run can be gone on with, and what is damaged."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from self_ensemble.identity.checksum import DamagedError
from self_ensemble.results.disk import read_table, sync
from self_ensemble.results.manifest import Manifest, differences, manifest_of, require_same
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.shards import (
    MANIFEST_NAME,
    list_shards,
    read_shard,
    remove_unfinished,
    run_folder,
    set_aside,
)


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done about a damaged file.

    Attributes:
        repair: Whether it is set aside; else it is refused.
        remedy: What the user can do, a sentence.
        lines: What was set aside, a line each.
    """

    repair: bool
    remedy: str
    lines: list[str] = field(default_factory=list)

    def found(self, damaged: DamagedError) -> None:
        """Set the file aside, or refuse it.

        Raises:
            DamagedError: The user has not asked for repair.
        """
        if not self.repair:
            raise damaged
        self.lines.append(set_aside(damaged.path, damaged.fault))


def finished_manifest(
    path: Path,
    asked: Manifest,
    plan: RowPlan,
    may_differ: Set[str],
    damage: Damage,
    output_option: str,
) -> Manifest | None:
    """What a finished result was made with; None where there is none, or it was set aside.

    Raises:
        UserError: It was made with other options.
        DamagedError: It is damaged, or has other rows than a finished result.
    """
    if not path.exists():
        return None
    try:
        table = read_table(path, damage.remedy)
        made_with = manifest_of(table, path, damage.remedy)
    except DamagedError as damaged:
        damage.found(damaged)
        return None
    require_same(made_with, asked, may_differ, path, output_option)
    fault = plan.fault_of_whole(table)
    if fault is not None:
        damage.found(DamagedError(path, fault, damage.remedy))
        return None
    # Its maker may have been stopped before the disk had all of it, and the shards go next.
    if run_folder(path).exists():
        sync(path)
        sync(path.parent)
    return made_with


def begun_manifest(
    run: Path, asked: Manifest, may_differ: Set[str], damage: Damage, output_option: str
) -> Manifest:
    """What a run was begun with; begins it where there is nothing.

    A manifest that is lost is written anew: the shards carry the digest of what they were made
    with, and those that were made with something else are found by it.

    Raises:
        UserError: It was begun with other options.
        DamagedError: The manifest is damaged, missing, or of another run than the shards.
    """
    run.mkdir(exist_ok=True)
    sync(run.parent)
    remove_unfinished(run)
    path = run / MANIFEST_NAME
    if path.exists():
        try:
            begun_with = Manifest.read(path, damage.remedy)
        except DamagedError as damaged:
            damage.found(damaged)
        else:
            if not differences(begun_with, asked, may_differ):
                return begun_with
            if not _some_made_with(run, asked.digest(may_differ)):
                require_same(begun_with, asked, may_differ, run, output_option)
            fault = "it is of another run than the shards beside it"
            damage.found(DamagedError(path, fault, damage.remedy))
    elif list_shards(run):
        if not damage.repair:
            raise DamagedError(run, f"it has shards but no {MANIFEST_NAME}", damage.remedy)
        damage.lines.append(f"{path} was missing and is written anew.")
    asked.write(path)
    return asked


def sound_shards(run: Path, made_with: str, plan: RowPlan, damage: Damage) -> Iterator[pa.Table]:
    """Give the rows of every shard that belongs to a run.

    Raises:
        DamagedError: A shard is damaged, of another run, or repeats a question.
    """
    seen: set[str] = set()
    for shard in list_shards(run):
        try:
            table = read_shard(shard, made_with, damage.remedy)
            fault = plan.fault(table)
            uuids = set() if fault else set(table["uuid"].to_pylist())
            if seen & uuids:
                fault = f"it repeats an earlier shard's row {min(seen & uuids)!r}"
            if fault is not None:
                raise DamagedError(shard, fault, damage.remedy)
        except DamagedError as damaged:
            damage.found(damaged)
        else:
            yield table
            seen |= uuids


def _some_made_with(run: Path, made_with: str) -> bool:
    for shard in list_shards(run):
        try:
            read_shard(shard, made_with, "")
        except DamagedError:
            continue
        return True
    return False

"""The finished batches of a run, each in a file that says whose it is and which one.

flex_attention-5.run/manifest.json                      what the run was begun with
flex_attention-5.run/shard-00000.feather                a finished batch
flex_attention-5.run/shard-00003.feather.damaged-1      set aside by --repair
"""

import os
import re
from pathlib import Path

import pyarrow as pa

from self_ensemble.identity.checksum import DamagedError
from self_ensemble.results.disk import read_table, sync, write_table

MANIFEST_NAME = "manifest.json"
SHARD_NAME = re.compile(r"shard-(\d+)\.feather")
# Its number, and the digest of the manifest that it was made with.
SHARD_KEY = b"self_ensemble_shard"


def run_folder(path: Path) -> Path:
    """Where the shards of a result lie until it is finished."""
    return path.with_suffix(".run")


def list_shards(run: Path) -> list[Path]:
    """The shards of a run by number; none where there is no folder."""
    try:
        names = os.listdir(run)
    except FileNotFoundError:
        return []
    return sorted((run / name for name in names if SHARD_NAME.fullmatch(name)), key=shard_number)


def shard_number(shard: Path) -> int:
    """The number in a shard's name."""
    match = SHARD_NAME.fullmatch(shard.name)
    assert match is not None, shard
    return int(match.group(1))


def next_number(run: Path) -> int:
    """The number of the next shard: one more than the largest."""
    return 1 + max(map(shard_number, list_shards(run)), default=-1)


def write_shard(run: Path, number: int, table: pa.Table, made_with: str) -> Path:
    """Write a batch; `made_with` is the digest of the run's manifest."""
    shard = run / f"shard-{number:05d}.feather"
    write_table(shard, table, {SHARD_KEY: f"{number} {made_with}".encode()})
    return shard


def read_shard(shard: Path, made_with: str, remedy: str) -> pa.Table:
    """Read a batch.

    Raises:
        DamagedError: It is not as it was written, of another run, or under another's name.
    """
    table = read_table(shard, remedy)
    metadata = table.schema.metadata or {}
    number, _, theirs = metadata.get(SHARD_KEY, b"").decode().partition(" ")
    if theirs != made_with:
        fault = "it is of another run (other questions, model or options)"
        raise DamagedError(shard, fault, remedy)
    if number != str(shard_number(shard)):
        raise DamagedError(shard, f"it is shard {number} under another name", remedy)
    return table.replace_schema_metadata(None)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed writer has left behind."""
    for name in os.listdir(folder):
        if name.endswith(".tmp"):
            (folder / name).unlink()


def remove_run(run: Path) -> None:
    """Remove what a run wrote; what was set aside, and strangers' files, stay."""
    if not os.path.lexists(run):
        return
    # The manifest last: shards without one are refused.
    for shard in list_shards(run):
        shard.unlink()
    if run.exists():
        remove_unfinished(run)
        (run / MANIFEST_NAME).unlink(missing_ok=True)
    if run.is_symlink():
        run.unlink()
    elif not os.listdir(run):
        run.rmdir()
    sync(run.parent)


def set_aside(path: Path, fault: str) -> str:
    """Rename a damaged file to a name that nothing reads; returns a line that says so."""
    number = 1
    while os.path.lexists(new := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    os.rename(path, new)
    sync(path.parent)
    return f"Set aside {path} as {new.name}: {fault}."

"""Damage to every kind of file: flipped bits, cuts, zeroed pages, rows, files put in its place."""

import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import pyarrow as pa
from pyarrow import feather

from self_ensemble.errors import UserError
from self_ensemble.questions.tables import read_table as read_questions
from self_ensemble.scoring.files import read_confidences, read_rows
from self_ensemble.weighting.learned_file import read_learned
from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.commands import Workplace, compare, left_in, run_forked
from tests.faults.operations import Interfere, at, interfere

PAGE = 4096
# Changes the victim, or one of the files of its folder; may take from those of another run.
Damage = Callable[[random.Random, Path, list[Path], Path], str]
# Renames until all shards are on the disk: manifests, then a shard a batch and result.
ALL_SHARDS = {"generate": 2 + 2 * 3, "confidence": 1 + 3, "paraphrase": 1 + 3}
TREES = [
    *((name, "finished") for name in (*ALL_SHARDS, "learn-weights")),
    *((name, "interrupted") for name in ALL_SHARDS),
]


def injections(
    draws: random.Random, folder: Path, damages: Sequence[Damage] | None = None
) -> Iterator[Fault]:
    """Damage one file of a finished or interrupted run, read it, repair it; without end."""
    place = Workplace.make()
    while True:
        for name, state in draws.sample(TREES, len(TREES)):
            out = folder / "damaged"
            shutil.copytree(_tree(place, name, state), out)
            files = sorted(path for path in out.rglob("*") if path.is_file())
            victim = draws.choice(files)
            damage = draws.choice(damages or DAMAGES)
            what = damage(draws, victim, files, _tree(place, name, state, "--seed", "1"))
            unnoticed = damage is exchange or what.endswith("without its metadata")
            what = f"{name}, {state}: {victim.relative_to(out)} {what}"
            try:
                yield Fault(what, *_met(place, name, out, unnoticed=unnoticed))
            finally:
                shutil.rmtree(out, ignore_errors=True)


def flip(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    content = bytearray(victim.read_bytes())
    place, bit = draws.randrange(len(content)), draws.randrange(8)
    content[place] ^= 1 << bit
    victim.write_bytes(content)
    return f"bit {bit} of byte {place} flipped"


def cut(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    content = victim.read_bytes()
    size = draws.randrange(len(content))
    victim.write_bytes(content[:size])
    return f"cut to {size} of {len(content)} bytes"


def zero(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    content = victim.read_bytes()
    size = draws.choice([16, 512, PAGE])
    start = draws.randrange(0, len(content), size)
    end = min(start + size, len(content))
    victim.write_bytes(content[:start] + bytes(end - start) + content[end:])
    return f"bytes {start} to {end} zeroed"


def delete(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    victim.unlink()
    return "deleted"


def rename(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    name = f"{victim.stem[:-1]}{draws.randrange(3, 10)}{victim.suffix}"
    if not victim.stem.startswith("shard-"):
        return delete(draws, victim, files, other)
    draws.choice([shutil.copy, shutil.move])(victim, victim.with_name(name))
    return f"put under the name {name}"


def exchange(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    alike = [file for file in files if file.suffix == victim.suffix]
    alike += list(other.rglob(f"*{victim.suffix}"))
    chosen = draws.choice(alike)
    victim.write_bytes(chosen.read_bytes())
    return f"holds {chosen}"


def change_rows(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    if victim.suffix == ".feather":
        table = feather.read_table(victim, memory_map=False)
        rows = [*range(len(table)), 0] if draws.random() < 0.5 else list(range(1, len(table)))
        table = table.take(pa.array(rows, pa.int64()))
        if draws.random() < 0.5:
            table = table.replace_schema_metadata(None)
        feather.write_feather(table, victim)
        return f"has rows {rows}, {'with' if table.schema.metadata else 'without'} its metadata"
    lines = victim.read_bytes().splitlines(keepends=True)
    line = draws.randrange(len(lines))
    lines[line : line + 1] = draws.choice([[], [lines[line]] * 2])
    victim.write_bytes(b"".join(lines))
    return f"has line {line} not at all or twice"


def change_value(draws: random.Random, victim: Path, files: list[Path], other: Path) -> str:
    """Another letter in a text: the file parses as well as before, and only a checksum tells."""
    if victim.suffix != ".feather":
        content = victim.read_bytes()
        # Behind a colon stands a value, not a key.
        places = [found.start(1) for found in re.finditer(rb': "[^"\\]*?([A-Za-z])', content)]
        if not places:
            return flip(draws, victim, files, other)
        place = draws.choice(places)
        letter = b"x" if content[place : place + 1] != b"x" else b"y"
        victim.write_bytes(content[:place] + letter + content[place + 1 :])
        return f"has another letter at byte {place}"
    table = feather.read_table(victim, memory_map=False)
    name = draws.choice([field.name for field in table.schema if pa.types.is_string(field.type)])
    column, row = table.column_names.index(name), draws.randrange(len(table))
    values = table[name].to_pylist()
    values[row] = f"{values[row]}x"
    field = table.schema.field(name)
    feather.write_feather(table.set_column(column, field, pa.array(values, field.type)), victim)
    return f"has another {name} in row {row}"


DAMAGES = (flip, cut, zero, delete, rename, exchange, change_rows, change_value)


def _met(place: Workplace, name: str, out: Path, *, unnoticed: bool) -> tuple[Verdict, str]:
    """What readers make of the damage, and what the same command does about it.

    Args:
        place: Where commands run.
        name: The command that made the files.
        out: Its folder, damaged.
        unnoticed: Whether a reader may take the file: it is a whole one, from somewhere else.
    """
    for path, expected in _undamaged(place, name).items():
        ended = run_forked(partial(_read, out / path), place.folder)
        if ended.code != 0 and not ended.one_line:
            return Verdict.TRACEBACK, f"{path}: {ended}"
        if ended.code == 0 and ended.out != expected and not unnoticed:
            return Verdict.CHANGED, f"{path} is read as {ended.out}"
    ended = place.run(name, out)
    for remedy in ("--repair", "--overwrite"):
        if ended.one_line and remedy in ended.err:
            ended = place.run(name, out, remedy)
    if ended.code != 0:
        return Verdict.TRACEBACK, f"cannot go on: {ended}"
    return compare(place.expected(name), left_in(out))


def _read(path: Path) -> int:
    """Read a file as the commands do that take it, and print what is in it."""
    try:
        if path.suffix == ".json":
            _say(read_learned(path))
        elif path.parent.name != "tiny":
            _say([row.values for row in read_questions(path).rows])
        elif path.stem.startswith("confidence"):
            _say(read_confidences(path))
        else:
            _say(read_rows(path))
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return 0


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")


@cache
def _undamaged(place: Workplace, name: str) -> dict[Path, str]:
    """What is read of each finished file of a command that has not been damaged."""
    tree = _tree(place, name, "finished")
    files = [path for path in tree.rglob("*") if path.suffix in (".feather", ".json", ".jsonl")]
    return {
        path.relative_to(tree): run_forked(partial(_read, path), place.folder).out
        for path in files
    }


@cache
def _tree(place: Workplace, name: str, state: str, *more: str) -> Path:
    """The files that a finished or interrupted run of a command leaves; not to be changed."""
    tree = place.folder / f"{name} {state} {' '.join(more)}"
    if state == "finished":
        assert place.run(name, tree, *more).code == 0
    else:
        kill = _kill_at_rename(ALL_SHARDS[name] + 1)
        ended = place.run(name, tree, *more, before=partial(interfere, tree, kill))
        assert ended.code == -signal.SIGKILL
    return tree


def _kill_at_rename(number: int) -> Interfere:
    kill = at(number, lambda name: os.kill(os.getpid(), signal.SIGKILL))
    return lambda name: kill(name) if name == "os.rename" else None


DAMAGE = Campaign("damage", injections, few=15, many=700)

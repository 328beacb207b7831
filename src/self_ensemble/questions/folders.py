"""Data sets that are a folder: saved by `datasets`, or the shards of a hub repository."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from self_ensemble.errors import UserError, reading, unknown_name
from self_ensemble.questions.reading import is_file, is_folder, names_in, read_bytes
from self_ensemble.questions.tables import Table, is_table_name, read_tables

# "train-00000-of-00002.parquet", "test.jsonl", "validation_0.parquet"
_SPLIT = re.compile(r"(train|test|dev|val|valid|validation|eval)(?=[-._]|$)", re.IGNORECASE)


def read_folder(folder: Path, split: str | None, encoding: str | None = None) -> Table:
    """Read a folder's data set, or one split of it.

    Args:
        folder: What `save_to_disk` of `datasets` made, or a folder (or its `data`) with tables of
            one kind, one for every split or several shards of it.
        split: Which one; may be None where there is only one.
        encoding: Of text files.

    Raises:
        UserError: The folder holds no data set, several splits and `split` is None, or no such
            split; or a file cannot be used.
    """
    splits = _saved(folder) or _shards(folder)
    if split is None and len(splits) > 1:
        first = next(iter(splits))
        raise UserError(
            f"{folder} has the splits {', '.join(splits)}. Say which: --split {first}.", "SE-0113"
        )
    if split is not None and split not in splits:
        raise unknown_name("split", split, splits)
    chosen = next(iter(splits)) if split is None else split
    name = folder.resolve().name
    return read_tables(splits[chosen], f"{name}-{chosen}" if split else name, encoding)


def _saved(folder: Path) -> dict[str, list[Path]]:
    """The splits of a `Dataset` or `DatasetDict`; empty where the folder is neither."""
    if is_file(folder / "dataset_dict.json"):
        names = _names(folder / "dataset_dict.json", "splits")
        return {name: _saved_files(folder / name) for name in names}
    return {"all": _saved_files(folder)} if is_file(folder / "state.json") else {}


def _saved_files(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder / "state.json", "_data_files")]


def _names(path: Path, key: str) -> list[str]:
    remedy = "Save the data set anew."
    with reading(path, remedy):
        document = json.loads(read_bytes(path))
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{path} has no list {key!r}. {remedy}", "SE-0113")
    names = [entry.get("filename") if isinstance(entry, dict) else entry for entry in entries]
    for name in names:
        # A name that leads out of the folder is not `datasets`' work.
        if not isinstance(name, str) or Path(name).name != name:
            raise UserError(
                f"{path} names {name!r}, which is no file of its folder. {remedy}", "SE-0113"
            )
    return [str(name) for name in names]


def _shards(folder: Path) -> Mapping[str, list[Path]]:
    found = _tables(folder) or _tables(folder / "data")
    if not found:
        there = ", ".join(names_in(folder)[:10]) or "nothing"
        raise UserError(
            f"--dataset {folder} is a folder without a data set; it holds {there}. Give a file, "
            "a folder that save_to_disk of `datasets` made, one with the tables of its splits, or "
            "one with facts.jsonl and templates.jsonl.",
            "SE-0113",
        )
    kinds = {path.suffix for path in found}
    if len(kinds) > 1:
        raise UserError(f"{folder} holds tables of several kinds: {', '.join(sorted(kinds))}. "
                        "Give one of the files.", "SE-0113")  # fmt: skip
    splits: dict[str, list[Path]] = {}
    for path in found:
        named = _SPLIT.match(path.name)
        splits.setdefault(named[1] if named else "all", []).append(path)
    if splits.keys() == {"all"} and len(found) > 1 and not all(_is_shard(path) for path in found):
        raise UserError(
            f"{folder} holds {', '.join(path.name for path in found[:10])}. Give one of the "
            "files.",
            "SE-0113",
        )
    return splits


def _is_shard(path: Path) -> bool:
    return re.search(r"\d{4,}|-of-\d+", path.name) is not None


def _tables(folder: Path) -> list[Path]:
    names = names_in(folder) if is_folder(folder) else []
    tables = [folder / name for name in names if is_table_name(name) and name[0] != "."]
    return [path for path in tables if is_file(path)]


def is_template_folder(folder: Path) -> bool:
    """Whether a folder holds facts and the templates of their relations."""
    return is_file(folder / "facts.jsonl") and is_file(folder / "templates.jsonl")

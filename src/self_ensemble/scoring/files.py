"""Result files on disk: which there are, and their rows as far as scoring needs them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import feather

from self_ensemble.errors import UserError, unknown_name

_REQUIRED = ("uuid", "answers", "prediction")
_OPTIONAL = ("seconds", "error", "paraphrase_index")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One answer to one question, or the reason why there is none.

    Attributes:
        uuid: The question.
        answers: Accepted answers.
        prediction: First line of the generation; None in an error row.
        error: Why the row has no prediction; None if it has one.
        seconds: Time that the answer took; nan if unknown.
        paraphrase_index: Which wording was asked alone (`per_prompt`); else None.
    """

    uuid: str
    answers: tuple[str, ...]
    prediction: str | None
    error: str | None = None
    seconds: float = nan
    paraphrase_index: int | None = None


class ResultFolder(NamedTuple):
    """The results of one model on one data set.

    Attributes:
        path: The folder, `<output-dir>/<dataset>/<model>`.
        names: Finished result files, as the path inside the folder without `.feather`.
        unfinished: Runs that have begun and have no result file yet.
    """

    path: Path
    names: tuple[str, ...]
    unfinished: tuple[str, ...]

    @property
    def dataset(self) -> str:
        return self.path.parent.name

    @property
    def model(self) -> str:
        return self.path.name


def result_folders(
    output_dir: Path, dataset: str | None = None, model: str | None = None
) -> tuple[ResultFolder, ...]:
    """Find the folders with results, of one data set or model or of all.

    Args:
        output_dir: Where the results are.
        dataset: Name of a data set or path of the user's own file; None for all.
        model: Name of the model's folder; None for all.

    Raises:
        UserError: A folder is missing, or there is no finished result file in any.
    """
    if not output_dir.is_dir():
        raise UserError(f"There is no results folder {output_dir}. Give it with --output-dir.")
    datasets = _folders(output_dir)
    if dataset is not None:
        datasets = [_named("dataset", dataset, (dataset, Path(dataset).stem), datasets)]
    models = [folder for parent in datasets for folder in _folders(parent)]
    if model is not None:
        stored = _named("model", model, (model,), models).name
        models = [folder for folder in models if folder.name == stored]
    found = [folder for folder in map(_result_folder, models) if folder.names or folder.unfinished]
    if not any(folder.names for folder in found):
        waiting = ", ".join(name for folder in found for name in folder.unfinished)
        hint = f" Not finished yet: {waiting}." if waiting else ""
        where = models[0] if len(models) == 1 else output_dir
        raise UserError(
            f"There is no finished result file in {where}.{hint} Run `self-ensemble generate`."
        )
    return tuple(found)


def read_rows(path: Path) -> tuple[ResultRow, ...]:
    """Read a result file.

    Raises:
        UserError: The file cannot be read, lacks a column, has a row twice, or a row has no
            answers or neither a prediction nor an error.
    """
    try:
        table = feather.read_table(path, memory_map=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} is not a readable Arrow feather file ({error}).") from error
    missing = [name for name in _REQUIRED if name not in table.column_names]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}: it is no result file.")
    columns = [name for name in (*_REQUIRED, *_OPTIONAL) if name in table.column_names]
    rows = tuple(_row(path, record) for record in table.select(columns).to_pylist())
    _refuse_repeated(path, rows)
    return rows


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _named(kind: str, given: str, names: Sequence[str], folders: Iterable[Path]) -> Path:
    by_name = {folder.name: folder for folder in folders}
    for name in names:
        if name in by_name:
            return by_name[name]
    if not by_name:
        raise UserError(f"There are no results yet for {kind} {given!r}: the folder is empty.")
    raise unknown_name(kind, given, by_name)


def _result_folder(path: Path) -> ResultFolder:
    names, runs = set(), set()
    for found in path.rglob("*"):
        inside = found.relative_to(path)
        # A run's own shards are feather files as well.
        if any(parent.suffix == ".run" for parent in inside.parents) or found.name[0] == ".":
            continue
        if found.suffix == ".feather":
            names.add(inside.as_posix().removesuffix(".feather"))
        elif found.suffix == ".run":
            runs.add(inside.as_posix().removesuffix(".run"))
    # Files of chosen wordings (diversity/...) after those of all.
    by_depth = sorted(names, key=lambda name: (name.count("/"), name))
    return ResultFolder(path, tuple(by_depth), tuple(sorted(runs - names)))


def _row(path: Path, record: dict[str, Any]) -> ResultRow:
    uuid, answers = record["uuid"], record["answers"]
    if not answers and record.get("error") is None:
        raise UserError(f"{path}: row {uuid!r} has no answers, so it cannot be scored.")
    if record["prediction"] is None and record.get("error") is None:
        raise UserError(f"{path}: row {uuid!r} has neither a prediction nor an error.")
    seconds = record.get("seconds")
    return ResultRow(
        uuid=uuid,
        answers=tuple(answers),
        prediction=record["prediction"],
        error=record.get("error"),
        seconds=nan if seconds is None else seconds,
        paraphrase_index=record.get("paraphrase_index"),
    )


def _refuse_repeated(path: Path, rows: Iterable[ResultRow]) -> None:
    seen = set()
    for row in rows:
        key = (row.uuid, row.paraphrase_index)
        if key in seen:
            wording = "" if key[1] is None else f" with wording {key[1]}"
            raise UserError(f"{path} has row {row.uuid!r}{wording} twice. Generate it again.")
        seen.add(key)

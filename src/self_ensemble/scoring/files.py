"""Result and confidence files on disk: which there are, and what scoring needs of their rows."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import feather

from self_ensemble.checksum import DamagedError, claims_checksum, problem
from self_ensemble.errors import UserError, reading, unknown_name
from self_ensemble.questions.reading import name_of

_REQUIRED = ("uuid", "answers", "prediction")
_OPTIONAL = ("seconds", "error", "paraphrase_index", "mean_logprob")
_CONFIDENCE = ("uuid", "answers", "greedy_predict", "confidence")
# Not in the files of published notebooks.
_CONFIDENCE_OPTIONAL = ("error", "paraphrase_index")


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
        mean_logprob: Mean log-probability of the answer's tokens; nan if unknown or no token.
    """

    uuid: str
    answers: tuple[str, ...]
    prediction: str | None
    error: str | None = None
    seconds: float = nan
    paraphrase_index: int | None = None
    mean_logprob: float = nan


@dataclass(frozen=True, slots=True)
class ConfidenceRow:
    """How sure the model is of its answer to one wording, or the reason why that is not known.

    Attributes:
        uuid: The question.
        answers: Accepted answers.
        prediction: The greedy answer; None in an error row.
        confidence: From 0 to 1, larger is surer; nan where it is not known.
        error: Why the row has no confidence; None if it has one.
    """

    uuid: str
    answers: tuple[str, ...]
    prediction: str | None
    confidence: float
    error: str | None = None


class ResultFolder(NamedTuple):
    """The results of one model on one data set.

    Attributes:
        path: The folder, `<output-dir>/<dataset>/<model>`.
        names: Finished result files, as the path inside the folder without `.feather`.
        unfinished: Runs that have begun and have no result file yet.
        confidences: Finished confidence files, named like `names`.
        unfinished_confidences: Begun confidence runs that have no file yet.
    """

    path: Path
    names: tuple[str, ...]
    unfinished: tuple[str, ...]
    confidences: tuple[str, ...] = ()
    unfinished_confidences: tuple[str, ...] = ()

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
    models = _model_folders(output_dir, dataset, model)
    found = [folder for folder in map(_result_folder, models) if folder.names or folder.unfinished]
    if not any(folder.names for folder in found):
        waiting = [name for folder in found for name in folder.unfinished]
        raise UserError(
            f"There is no finished result file in {_place(models, output_dir)}."
            f"{_not_finished(waiting)} Run `self-ensemble generate`."
        )
    return tuple(found)


def calibration_folders(
    output_dir: Path, dataset: str | None = None, model: str | None = None
) -> tuple[ResultFolder, ...]:
    """Find the folders with results or confidences; the arguments are those of `result_folders`.

    Raises:
        UserError: A folder is missing, or there is neither a result nor a confidence file in any.
    """
    models = _model_folders(output_dir, dataset, model)
    found = [_result_folder(path) for path in models]
    filled = tuple(folder for folder in found if folder.names or folder.confidences)
    if not filled:
        waiting = [
            name for folder in found for name in folder.unfinished + folder.unfinished_confidences
        ]
        raise UserError(
            "There is no finished confidence or result file in "
            f"{_place(models, output_dir)}.{_not_finished(waiting)} "
            "Run `self-ensemble confidence` or `self-ensemble generate`."
        )
    return filled


def read_rows(path: Path) -> tuple[ResultRow, ...]:
    """Read a result file.

    Raises:
        UserError: The file cannot be read, lacks a column, has a row twice, or a row has no
            answers or neither a prediction nor an error.
    """
    records = _records(path, _REQUIRED, _OPTIONAL, "result")
    rows = tuple(_row(path, record) for record in records)
    _refuse_repeated(path, ((row.uuid, row.paraphrase_index) for row in rows))
    return rows


def read_confidences(path: Path) -> tuple[ConfidenceRow, ...]:
    """Read a confidence file; those of published notebooks lack the error and paraphrase index.

    Raises:
        UserError: The file cannot be read, lacks a column, has a row twice, or a row has no
            answers or a confidence that is not between 0 and 1.
    """
    records = _records(path, _CONFIDENCE, _CONFIDENCE_OPTIONAL, "confidence")
    # Without an index two equal wordings of a question cannot be told from a row that is twice.
    _refuse_repeated(
        path,
        (
            (record["uuid"], record["paraphrase_index"])
            for record in records
            if record.get("paraphrase_index") is not None
        ),
    )
    return tuple(_confidence_row(path, record) for record in records)


def _records(
    path: Path, required: Sequence[str], optional: Sequence[str], kind: str
) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    # Files of published notebooks have no checksum. Ours are checked before pyarrow sees them:
    # on damaged lengths it has crashed the process.
    fault = problem(content) if claims_checksum(content) else None
    if fault is not None:
        raise DamagedError(path, fault, f"Make the {kind} again, with --repair.")
    with reading(path, f"It must be an Arrow feather file. Make the {kind} again."):
        table = feather.read_table(pa.BufferReader(content))
    missing = [name for name in required if name not in table.column_names]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}: it is no {kind} file.")
    columns = [name for name in (*required, *optional) if name in table.column_names]
    records: list[dict[str, Any]] = table.select(columns).to_pylist()
    return records


def _model_folders(output_dir: Path, dataset: str | None, model: str | None) -> list[Path]:
    if not output_dir.is_dir():
        raise UserError(f"There is no results folder {output_dir}. Give it with --output-dir.")
    datasets = _folders(output_dir)
    if dataset is not None:
        datasets = [_named("dataset", dataset, _names_of(dataset), datasets)]
    models = [folder for parent in datasets for folder in _folders(parent)]
    if model is None:
        return models
    stored = _named("model", model, (model,), models).name
    return [folder for folder in models if folder.name == stored]


def _names_of(dataset: str) -> tuple[str, ...]:
    """What the results of a data set may be called: itself, or its file or folder."""
    path = Path(dataset)
    return dataset, path.stem, name_of(path), path.resolve().name


def _place(models: Sequence[Path], output_dir: Path) -> Path:
    return models[0] if len(models) == 1 else output_dir


def _not_finished(names: Sequence[str]) -> str:
    return f" Not finished yet: {', '.join(names)}." if names else ""


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
    for inside, folders, files in _walk(path):
        runs |= {(inside / f).as_posix().removesuffix(".run") for f in folders if _is_run(f)}
        # A run's own shards are feather files as well.
        folders[:] = [f for f in folders if not _is_run(f)]
        names |= {
            (inside / f).as_posix().removesuffix(".feather")
            for f in files
            if f.endswith(".feather") and not f.startswith(".")
        }
    # Files of chosen wordings (diversity/...) after those of all.
    by_depth = sorted(names, key=lambda name: (name.count("/"), name))
    waiting = sorted(runs - names)
    return ResultFolder(
        path,
        names=tuple(name for name in by_depth if not _is_confidence(name)),
        unfinished=tuple(name for name in waiting if not _is_confidence(name)),
        confidences=tuple(name for name in by_depth if _is_confidence(name)),
        unfinished_confidences=tuple(name for name in waiting if _is_confidence(name)),
    )


def _is_run(name: str) -> bool:
    return name.endswith(".run")


def _walk(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """The folders in a folder, links followed, each once: path inside, folders, files."""

    def refuse(error: OSError) -> None:
        raise UserError(f"Cannot look into {error.filename}: {error.strerror}.") from error

    seen = set()
    for root, folders, files in os.walk(path, onerror=refuse, followlinks=True):
        if os.path.realpath(root) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(root).relative_to(path), folders, files


def _is_confidence(name: str) -> bool:
    """Whether `results.paths.confidence_path` makes this name."""
    return name == "confidence" or name.startswith("confidence-")


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
        mean_logprob=nan if record.get("mean_logprob") is None else record["mean_logprob"],
    )


def _confidence_row(path: Path, record: dict[str, Any]) -> ConfidenceRow:
    uuid, answers, error = record["uuid"], record["answers"], record.get("error")
    confidence = nan if record["confidence"] is None else record["confidence"]
    known = error is None and not isnan(confidence)
    if known and not 0 <= confidence <= 1:
        raise UserError(
            f"{path}: row {uuid!r} has confidence {confidence}, which is not between 0 and 1. "
            "Estimate it again with `self-ensemble confidence`."
        )
    if known and not answers:
        raise UserError(f"{path}: row {uuid!r} has no answers, so it cannot be scored.")
    return ConfidenceRow(uuid, tuple(answers or ()), record["greedy_predict"], confidence, error)


def _refuse_repeated(path: Path, keys: Iterable[tuple[str, int | None]]) -> None:
    seen = set()
    for uuid, index in keys:
        if (uuid, index) in seen:
            wording = "" if index is None else f" with wording {index}"
            raise UserError(f"{path} has row {uuid!r}{wording} twice. Generate it again.")
        seen.add((uuid, index))

"""Folders of results: which result and confidence files there are, and which are not finished."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.questions.reading import name_of


class ResultFolder(NamedTuple):
    """The results of one model on one data set.

    Attributes:
        path: The folder, `<output-dir>/<dataset>/<model>`.
        names: Finished result files, as the path inside the folder without `.feather`.
        unfinished: Runs that have begun and have no result file yet.
        confidences: Finished confidence files, named like `names`.
        unfinished_confidences: Begun confidence runs that have no file yet.
        logprobs: Finished files of log-probabilities, named like `names`.
    """

    path: Path
    names: tuple[str, ...]
    unfinished: tuple[str, ...]
    confidences: tuple[str, ...] = ()
    unfinished_confidences: tuple[str, ...] = ()
    logprobs: tuple[str, ...] = ()

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
    models = model_folders(output_dir, dataset, model)
    found = [folder for folder in map(_result_folder, models) if folder.names or folder.unfinished]
    if not any(folder.names for folder in found):
        waiting = [name for folder in found for name in folder.unfinished]
        raise UserError(
            f"There is no finished result file in {_place(models, output_dir)}."
            f"{_not_finished(waiting)} Run `self-ensemble generate`.",
            "SE-0901",
        )
    return tuple(found)


def result_folder_at(path: Path) -> ResultFolder:
    """Look into one folder of results, `<output-dir>/<dataset>/<model>`.

    Raises:
        UserError: It is missing, or there is no finished result file in it.
    """
    if not path.is_dir():
        raise UserError(
            f"There is no results folder {path}. Give one of a data set and a model, "
            "as results/demo/smollm2_135m_it.",
            "SE-0901",
        )
    folder = _result_folder(Path(os.path.abspath(path)))
    if not folder.names:
        raise UserError(
            f"There is no finished result file in {path}.{_not_finished(folder.unfinished)} "
            "Run `self-ensemble generate`.",
            "SE-0901",
        )
    return folder


def calibration_folders(
    output_dir: Path, dataset: str | None = None, model: str | None = None
) -> tuple[ResultFolder, ...]:
    """Find the folders with results or confidences; the arguments are those of `result_folders`.

    Raises:
        UserError: A folder is missing, or there is neither a result nor a confidence file in any.
    """
    models = model_folders(output_dir, dataset, model)
    found = [_result_folder(path) for path in models]
    filled = tuple(folder for folder in found if folder.names or folder.confidences)
    if not filled:
        waiting = [
            name for folder in found for name in folder.unfinished + folder.unfinished_confidences
        ]
        raise UserError(
            "There is no finished confidence or result file in "
            f"{_place(models, output_dir)}.{_not_finished(waiting)} "
            "Run `self-ensemble confidence` or `self-ensemble generate`.",
            "SE-0901",
        )
    return filled


def logprob_file(output_dir: Path, dataset: str, model: str, name: str | None = None) -> Path:
    """Find the log-probabilities of one model on one data set.

    Args:
        output_dir: Where the results are.
        dataset: Name of a data set or path of the user's own file.
        model: Name of the model's folder.
        name: Which file, as the path inside the folder without `.feather`; None for the only one.

    Raises:
        UserError: A folder or the file is missing, or there are several.
    """
    (folder,) = map(_result_folder, model_folders(output_dir, dataset, model))
    if not folder.logprobs:
        raise UserError(
            f"There are no finished log-probabilities in {folder.path}. "
            "Run `self-ensemble generate` with --save-logprobs 64.",
            "SE-0901",
        )
    if name is None and len(folder.logprobs) > 1:
        raise UserError(
            f"{folder.path} has {len(folder.logprobs)} files of log-probabilities. "
            f"Choose one with --file: {', '.join(folder.logprobs)}.",
            "SE-0013",
        )
    if name is not None and name not in folder.logprobs:
        raise unknown_name("file", name, folder.logprobs)
    return folder.path / f"{name or folder.logprobs[0]}.feather"


def model_folders(output_dir: Path, dataset: str | None, model: str | None) -> list[Path]:
    """Find folders of models, whatever is in them; the arguments are those of `result_folders`.

    Raises:
        UserError: There is none of that name.
    """
    if not output_dir.is_dir():
        raise UserError(
            f"There is no results folder {output_dir}. Give it with --output-dir.", "SE-0901"
        )
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
        raise UserError(
            f"There are no results yet for {kind} {given!r}: the folder is empty.", "SE-0901"
        )
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
        names=tuple(filter(_is_result, by_depth)),
        unfinished=tuple(filter(_is_result, waiting)),
        confidences=tuple(name for name in by_depth if _is_confidence(name)),
        unfinished_confidences=tuple(name for name in waiting if _is_confidence(name)),
        logprobs=tuple(name for name in by_depth if _is_logprobs(name)),
    )


def _is_result(name: str) -> bool:
    return not _is_confidence(name) and not _is_logprobs(name)


def _is_run(name: str) -> bool:
    return name.endswith(".run")


def _walk(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """The folders in a folder, links followed, each once: path inside, folders, files."""

    def refuse(error: OSError) -> None:
        raise UserError(
            f"Cannot look into {error.filename}: {error.strerror}.", "SE-0702"
        ) from error

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


def _is_logprobs(name: str) -> bool:
    """Whether `results.paths.logprobs_path` makes this name."""
    return name.rpartition("/")[2].startswith("logprobs-")

"""Several data sets and models: a table of tables, and differences pooled over data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from self_ensemble.analysis.loaded import Loaded
from self_ensemble.analysis.pooling import Pooled, random_effects
from self_ensemble.analysis.significance import standard_error
from self_ensemble.scoring.statistics import Estimate, share_interval


@dataclass(frozen=True, slots=True)
class PooledRow:
    """One file of one model, its difference to the baseline pooled over data sets."""

    file: str
    model: str
    pooled: Pooled


@dataclass(frozen=True, slots=True)
class Across:
    """Several folders.

    Attributes:
        titles: The folders: data set and model.
        accuracies: Of each file its accuracy in each folder; None where it has none.
        baseline: What differences are taken to.
        pooled: One row for each model and file with two data sets or more. Models are not pooled:
            they answer the same questions and are not independent.
    """

    titles: tuple[str, ...]
    accuracies: Mapping[str, tuple[Estimate | None, ...]]
    baseline: str
    pooled: tuple[PooledRow, ...]


def across(loaded: Sequence[Loaded], baseline: str, cluster: str | None = None) -> Across:
    """Put several folders side by side.

    Args:
        loaded: The folders.
        baseline: What differences are taken to; folders without it are not pooled.
        cluster: Column whose questions are not independent; None if all are.

    Raises:
        UserError: The questions of a folder have no such column.
    """
    names = list(dict.fromkeys(name for folder in loaded for name in folder.files))
    return Across(
        titles=tuple(folder.title for folder in loaded),
        accuracies={
            name: tuple(_accuracy(folder, name, cluster) for folder in loaded) for name in names
        },
        baseline=baseline,
        pooled=tuple(_pooled(loaded, names, baseline, cluster)),
    )


def _accuracy(folder: Loaded, name: str, cluster: str | None) -> Estimate | None:
    scored = folder.accuracies(name) if name in folder.files else {}
    if not scored:
        return None
    clusters = folder.clusters(cluster)
    return share_interval(
        list(scored.values()),
        folder.judging.confidence,
        None if clusters is None else [clusters[uuid] for uuid in scored],
    )


def _pooled(
    loaded: Sequence[Loaded], names: Sequence[str], baseline: str, cluster: str | None
) -> list[PooledRow]:
    rows = []
    for model in dict.fromkeys(folder.folder.model for folder in loaded):
        folders = [
            folder
            for folder in loaded
            if folder.folder.model == model and baseline in folder.files
        ]
        for name in names:
            if name == baseline:
                continue
            found = [
                effect
                for folder in folders
                if name in folder.files
                and (effect := _effect(folder, name, baseline, cluster)) is not None
            ]
            if len(found) > 1:
                effects, variances = zip(*found, strict=True)
                confidence = loaded[0].judging.confidence
                rows.append(PooledRow(name, model, random_effects(effects, variances, confidence)))
    return rows


def _effect(
    folder: Loaded, name: str, baseline: str, cluster: str | None
) -> tuple[float, float] | None:
    """A paired difference and its variance; None where fewer than two questions are in both."""
    ours, theirs = folder.accuracies(name), folder.accuracies(baseline)
    differences = {uuid: ours[uuid] - theirs[uuid] for uuid in ours if uuid in theirs}
    error = standard_error(differences, folder.clusters(cluster))
    if not error >= 0:
        return None
    if error == 0:
        # Half a question gained and half a question lost: a variance of 0 would outweigh all.
        error = 1 / len(differences)
    return fmean(differences.values()), error**2

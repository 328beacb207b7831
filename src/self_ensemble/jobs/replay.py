"""Fuse wordings again from kept predictions: what `self-ensemble replay` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.replaying.choice import COARSEST, TOLERANCE, Replayed, Status, replayed
from self_ensemble.replaying.rules import CONTRAST, REPLAY_RULES, WEIGHTED, Setting
from self_ensemble.replaying.stored import Stored, read_stored
from self_ensemble.results.paths import model_folder_name
from self_ensemble.scoring.folders import logprob_file


@dataclass(frozen=True, slots=True)
class ReplayTable:
    """What rules take as the first token of every question's answer.

    Attributes:
        path: The file that it is from.
        indices: The wordings, in the order in which they are fused.
        tolerance: Log-probabilities closer than this were not told apart.
        rows: Of each rule, of each question.
    """

    path: Path
    indices: tuple[int, ...]
    tolerance: float
    rows: Mapping[str, tuple[Replayed, ...]]

    def counts(self, rule: str) -> dict[Status, int]:
        """How many questions there are of each status."""
        found: dict[Status, int] = {"exact": 0, "rest": 0, "close": 0, "error": 0}
        for row in self.rows[rule]:
            found[row.status] += 1
        return found

    def num_replayed(self, rule: str) -> int:
        """Questions that are no error rows."""
        return len(self.rows[rule]) - self.counts(rule)["error"]

    def num_right(self, rule: str) -> int:
        """Questions whose token begins an accepted answer."""
        return sum(row.is_right for row in self.rows[rule])


def replay(
    dataset: str,
    model: str,
    *,
    output_dir: Path | str = "results",
    rules: Sequence[str] = ("all",),
    indices: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
    contrast_strength: float = CONTRAST,
    file: str | None = None,
) -> ReplayTable:
    """Fuse the wordings' predictions of the first token by other rules, without the model.

    Args:
        dataset: Name of a data set or path of a file.
        model: Alias, hub id or path.
        output_dir: Folder of all results.
        rules: Built-in fusion rules; "all" for every one that can be replayed.
        indices: These wordings, in this order; None for all that are kept.
        weights: Of each of them, for weighted_avg and weighted_max.
        contrast_strength: How much of the prompt without the question `contrast` takes away.
        file: Which file of log-probabilities, without .feather; None for the only one.

    Raises:
        UserError: Nothing was kept, the file is damaged, or an argument cannot be used.
    """
    names = _named(rules, has_weights=weights is not None)
    if not 0 <= contrast_strength <= 1e6:
        raise UserError(
            f"Got --contrast-strength {contrast_strength}. Give a number from 0 to 1,000,000.",
            "SE-0010",
        )
    path = logprob_file(Path(output_dir), dataset, model_folder_name(model), file)
    stored = read_stored(path)
    chosen = stored.indices if indices is None else tuple(indices)
    stored = _of_wordings(stored, chosen, path)
    if not chosen:
        raise UserError(
            "Got no wordings to fuse. Give one index or more, or leave them out.", "SE-0906"
        )
    if weights is not None and len(weights) != len(chosen):
        raise UserError(
            f"Got {len(weights)} weights for {len(chosen)} wordings. Give one per wording.",
            "SE-0603",
        )
    if weights is not None and not (any(weights) and all(0 <= one < inf for one in weights)):
        raise UserError(
            f"Got weights {list(weights)}. Give finite numbers from 0, at least one above 0.",
            "SE-0603",
        )
    setting = Setting(
        np.array(weights if weights is not None else [1.0] * len(chosen)),
        contrast_strength,
        TOLERANCE.get(stored.dtype, COARSEST),
    )
    rows = {
        name: tuple(replayed(one, REPLAY_RULES[name], setting) for one in stored.questions)
        for name in names
    }
    return ReplayTable(path, chosen, setting.tolerance, rows)


def _named(rules: Sequence[str], *, has_weights: bool) -> tuple[str, ...]:
    found: list[str] = []
    for rule in rules:
        if rule == "all":
            found += [one for one in REPLAY_RULES if has_weights or one not in WEIGHTED]
        elif rule not in REPLAY_RULES:
            raise unknown_name("fusion rule", rule, [*REPLAY_RULES, "all"])
        else:
            found.append(rule)
    if not found:
        raise UserError(
            f"No --rule given. Choose from: {', '.join(REPLAY_RULES)}, all.", "SE-0601"
        )
    weighted = WEIGHTED.intersection(found)
    if weighted and not has_weights:
        raise UserError(
            f"Rule {min(weighted)!r} needs weights, and none were given. Give --weights with a "
            "number for each wording, such as 0.5,0.3,0.2.",
            "SE-0602",
        )
    if has_weights and not weighted:
        raise UserError(
            "--weights is for weighted_avg and weighted_max, and neither is among the rules. "
            "Leave it out, or add one of them.",
            "SE-0012",
        )
    return tuple(dict.fromkeys(found))


def _of_wordings(stored: Stored, indices: Sequence[int], path: Path) -> Stored:
    missing = [index for index in indices if index not in stored.indices]
    if missing:
        raise UserError(
            f"{path} has nothing of wording {missing[0]}, only of "
            f"{', '.join(map(str, stored.indices))}. Choose among them with --indices.",
            "SE-0906",
        )
    places = [stored.indices.index(index) for index in indices]
    return stored._replace(
        questions=tuple(
            one if one.first is None else replace(one, first=one.first.of(places))
            for one in stored.questions
        )
    )

"""How often two of several say the same: methods, or wordings that were asked alone.

K methods or wordings, Q questions
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.analysis.wording_matrix import WordingMatrix
from self_ensemble.scoring.normalise import normalise
from self_ensemble.scoring.statistics import Estimate, share_interval


@dataclass(frozen=True, slots=True)
class Agreement:
    """A table of pairs.

    Attributes:
        names: What is compared, `(K,)`.
        shares: Share of the questions that two of them answer with the same words once
            normalised, right or wrong, over the questions that both answer, `(K, K)`; symmetrical.
    """

    names: tuple[str, ...]
    shares: tuple[tuple[Estimate, ...], ...]

    @property
    def widest(self) -> float:
        """The largest distance of a share from an end of its interval; nan if none has one."""
        ends = [
            end
            for row in self.shares
            for value, low, high, _ in row
            for end in (value - low, high - value)
        ]
        known = [end for end in ends if end == end]
        return max(known, default=float("nan"))


def agreement_of_files(files: Mapping[str, LoadedFile], confidence: float = 0.95) -> Agreement:
    """Compare files that have one answer to a question."""
    said = {name: _said(file) for name, file in files.items()}
    return _agreement(
        tuple(said),
        lambda a, b: [answer == said[b][uuid] for uuid, answer in said[a].items()
                      if uuid in said[b]],
        confidence,
    )  # fmt: skip


def agreement_of_wordings(matrix: WordingMatrix, confidence: float = 0.95) -> Agreement:
    """Compare wordings, over the questions that every wording has an answer to."""
    column = {f"wording {index + 1}": place for place, index in enumerate(matrix.indices)}
    answer = matrix.answer
    return _agreement(
        tuple(column),
        lambda a, b: np.equal(answer[:, column[a]], answer[:, column[b]]).tolist(),
        confidence,
    )


def _agreement(
    names: tuple[str, ...], same: Callable[[str, str], list[bool]], confidence: float
) -> Agreement:
    found: dict[tuple[str, str], Estimate] = {}
    for place, a in enumerate(names):
        for b in names[place:]:
            pairs = [float(value) for value in same(a, b)]
            # Of itself everything is the same, which is no estimate.
            share = share_interval(pairs, confidence)
            found[a, b] = found[b, a] = share if a != b else Estimate(1.0, 1.0, 1.0, len(pairs))
    return Agreement(names, tuple(tuple(found[a, b] for b in names) for a in names))


def _said(file: LoadedFile) -> dict[str, str]:
    return {row.uuid: normalise(row.prediction) for row in file.rows if row.prediction is not None}

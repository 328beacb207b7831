"""One folder of results, and what several sections of its report are made of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from self_ensemble.analysis.loaded import Loaded
from self_ensemble.analysis.provenance import MadeWith
from self_ensemble.analysis.score_rows import ScoreRow

_LONGEST_TEXT = 600  # characters of a question or answer


@dataclass(frozen=True, slots=True)
class Reported:
    """One folder, and what several sections are made of.

    Attributes:
        key: Unlike that of any other folder of the report.
        loaded: The folder.
        rows: Its scores.
        made_with: Manifests and digests.
        baseline: The file that differences are taken to; None if there is none.
        wanted: The baseline that was asked for.
        cluster: Column whose values are resampled whole.
    """

    key: str
    loaded: Loaded
    rows: tuple[ScoreRow, ...]
    made_with: tuple[MadeWith, ...]
    baseline: str | None
    wanted: str
    cluster: str | None

    @property
    def confidence(self) -> float:
        return self.loaded.judging.confidence

    @property
    def interval(self) -> str:
        """How its intervals are called."""
        return f"{100 * self.confidence:g} % interval"

    @property
    def compared(self) -> tuple[ScoreRow, ...]:
        """The files with a difference to the baseline."""
        return tuple(row for row in self.rows if row.difference and isfinite(row.difference.value))

    @property
    def without_baseline(self) -> str:
        """Why there is no difference."""
        if self.baseline is None:
            return (
                f"There is no {self.wanted}.feather in the folder to compare with; "
                "`self-ensemble generate --method origin` makes one."
            )
        return f"No other file has a question that {self.baseline} has as well."

    def made(self, name: str) -> Mapping[str, object]:
        """The manifest of a file; empty where it has none."""
        return next((one.fields or {} for one in self.made_with if one.file == name), {})


def cut(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A text, cut where it is too long for a page."""
    text = text.strip()
    return text if len(text) <= longest else f"{text[:longest]}\u2026 ({len(text):,} characters)"


def value_text(value: object) -> str:
    """A value of a manifest: a text as it is, all else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return cut(text, 2000)

"""All sections of a report."""

from collections.abc import Sequence

from self_ensemble.analysis.answered import AnsweredQuestion
from self_ensemble.report.results_page.numbers import (
    changes_section,
    cost_section,
    curve_section,
    differences_section,
    scores_section,
)
from self_ensemble.report.results_page.parts import Section
from self_ensemble.report.results_page.reported import Reported
from self_ensemble.report.results_page.texts import (
    asked_section,
    examples_section,
    mask_section,
    provenance_section,
)
from self_ensemble.report.results_page.trust import agreement_section, calibration_section


def sections_of(reported: Reported, examples: Sequence[AnsweredQuestion]) -> tuple[Section, ...]:
    """All sections, in the order of the page."""
    if not reported.loaded.files:
        unfinished = ", ".join(reported.loaded.folder.unfinished)
        why = f"There is no finished result file. Not finished yet: {unfinished}."
        return (Section("scores", "Scores", why),)
    return (
        asked_section(reported),
        scores_section(reported),
        differences_section(reported),
        changes_section(reported),
        curve_section(reported),
        cost_section(reported),
        calibration_section(reported),
        agreement_section(reported),
        examples_section(reported, examples),
        mask_section(reported, examples),
        provenance_section(reported),
    )

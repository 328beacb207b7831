"""Sections on how far answers can be trusted: calibration, and who says the same."""

from math import isfinite

from self_ensemble.analysis.calibrated import Calibration
from self_ensemble.analysis.wording_matrix import PER_PROMPT
from self_ensemble.report.cells import decimal, percent
from self_ensemble.report.results_page.figures import page_figure, reliability_panel
from self_ensemble.report.results_page.parts import Section, page_table
from self_ensemble.report.results_page.reported import Reported
from self_ensemble.report.results_page.sheets import (
    agreement_sheet,
    bins_sheet,
    calibration_sheet,
    robustness_sheet,
    source_name,
)

# A table of pairs with more is no longer read, and its page no longer small.
MOST_COMPARED = 20
# Resamples of the calibration's intervals: a tenth of what `analyze --calibration` takes.
NUM_RESAMPLES = 200


def calibration_section(reported: Reported) -> Section:
    """How far the confidences can be trusted."""
    title = "Calibration"
    found = reported.loaded.calibration(NUM_RESAMPLES)
    notes = _calibration_notes(found)
    if not found.rows:
        return Section("calibration", title,
                       " ".join(notes) or "No answer has a confidence.")  # fmt: skip
    confidence = reported.confidence
    figures = tuple(
        page_figure(
            f"{reported.key}r{place}",
            f"Reliability of {source_name(row)}: accuracy over confidence in bins, with "
            f"{reported.interval}s; calibration error {percent(row.ece.value)} %. All numbers are "
            "in the tables below.",
            f"ECE {percent(row.ece.value)} %, AUROC {decimal(row.auroc.value)}",
            lambda row=row: reliability_panel(row, confidence),  # type: ignore[misc]
        )._replace(title=source_name(row))
        for place, row in enumerate(found.rows)
    )
    return Section(
        "calibration",
        title,
        notes=tuple(notes),
        figures=figures,
        tables=(
            page_table(calibration_sheet(reported.loaded, found)),
            page_table(bins_sheet(found.rows, confidence), is_folded=True),
        ),
        legend=(
            "Confidence of a result file's answer: exp of the mean log-probability of its tokens. "
            "On the dashed line accuracy is what confidence says; a larger dot is more answers; "
            f"exact binomial {reported.interval}s, which take answers as independent.",
            "ECE: mean distance of confidence and accuracy over ten bins (0 is best). Brier: mean "
            "squared distance of confidence and right or wrong (0 is best). AUROC: how often a "
            f"right answer is surer than a wrong one (0.5 is chance). Intervals: {NUM_RESAMPLES} "
            "resamples of whole questions; `self-ensemble analyze --calibration` takes 2,000.",
        ),
    )


def agreement_section(reported: Reported) -> Section:
    """Who says the same."""
    title, loaded = "Agreement", reported.loaded
    tables, notes, legend = [], [], []
    wordings = loaded.wording_agreement()
    if wordings is None:
        notes.append(f"Wordings: there is no {PER_PROMPT}.feather.")
    elif len(wordings.names) < 2 or not wordings.shares[0][0].n:
        notes.append("Wordings: no question was asked in two wordings that both have an answer.")
    elif len(wordings.names) > MOST_COMPARED:
        notes.append(f"Wordings: {len(wordings.names)} are too many for a table of pairs.")
    else:
        sheet = agreement_sheet("wordings", "Wordings asked alone", wordings)
        tables.append(page_table(sheet, is_heat=True))
        legend.append(_width(f"Wordings, {wordings.shares[0][0].n:,} questions", wordings.widest))
    if len(loaded.fused) < 2:
        notes.append(
            "Methods: there is one file of fused answers, and nothing to compare it with."
        )
    elif len(loaded.fused) > MOST_COMPARED:
        notes.append(f"Methods: {len(loaded.fused)} files are too many for a table of pairs.")
    else:
        found = loaded.agreement()
        tables.append(page_table(agreement_sheet("methods", "Methods", found), is_heat=True))
        legend.append(_width("Methods", found.widest))
    measures = robustness_sheet(loaded, reported.cluster)
    if measures is not None:
        tables.append(page_table(measures))
    if not tables:
        return Section("agreement", title, " ".join(notes))
    return Section(
        "agreement",
        title,
        notes=tuple(notes),
        tables=tuple(tables),
        legend=(
            "Share of the questions, in percent, that two answer with the same words once "
            "normalised, right or wrong, over the questions that both answer.",
            *legend,
        ),
    )


def _calibration_notes(found: Calibration) -> list[str]:
    notes = []
    if found.without:
        notes.append(f"Without log-probabilities or confidences: {', '.join(found.without)}.")
    if found.above_one:
        notes.append(
            "With a mean_logprob above 0, which is no log-probability: "
            f"{', '.join(found.above_one)}."
        )
    return notes


def _width(what: str, widest: float) -> str:
    if not isfinite(widest):
        return f"{what}: too few questions for intervals."
    return f"{what}: no end of an interval is further than {percent(widest)} points away."

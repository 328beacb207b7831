"""Sections of scores: what they show, or why they show nothing."""

from collections.abc import Sequence
from math import isfinite

from self_ensemble.analysis.curve import ALL, ANY, VOTE
from self_ensemble.analysis.score_rows import ScoreRow
from self_ensemble.analysis.wording_matrix import PER_PROMPT
from self_ensemble.report.analysis_plots import (
    Cost,
    cost_figure,
    curve_figure,
    difference_figure,
)
from self_ensemble.report.analysis_sheets import curve_sheet
from self_ensemble.report.cells import p_cell, percent, percent_interval
from self_ensemble.report.results_page.figures import page_figure
from self_ensemble.report.results_page.parts import Facts, Section, page_table
from self_ensemble.report.results_page.reported import Reported, value_text
from self_ensemble.report.results_page.sheets import (
    changes_sheet,
    cost_sheet,
    summary_sheet,
)

_MOST_LISTED = 40  # questions that are named
_MOST_WORDINGS = 20
_COST_CAPTIONS: dict[Cost, str] = {
    "tokens": "What a question sends through the model by this method alone, prompts and answers, "
    "without the prefix of the run.",
    "seconds": "Methods of one command are decoded together and share their time: only files of "
    "commands of their own can be compared by it.",
}


def scores_section(reported: Reported) -> Section:
    """The summary table."""
    loaded, rows = reported.loaded, reported.rows
    sheet = summary_sheet(loaded, rows, reported.cluster)
    compared = "" if reported.baseline is None else f" and Holm-corrected over {_tests(rows)}"
    numbered = (
        ("Wordings are numbered from 1 here; `analyze` and --indices count them from 0.",)
        if PER_PROMPT in loaded.files
        else ()
    )
    units = "questions" if reported.cluster is None else f"groups of equal {reported.cluster}"
    return Section(
        "scores",
        "Scores",
        tables=(page_table(sheet, details=[_details(reported, row) for row in rows]),),
        legend=(
            "In percent. Accuracy: an accepted answer stands in the answer, by lemmas "
            f"({loaded.judging.lemmatiser}); exact: it is the answer; F1: overlap of words. An "
            "empty answer is wrong; an error row is not scored.",
            f"In brackets the {reported.interval}, bootstrapped over {units}. Difference: "
            f"accuracy minus that of {reported.baseline or reported.wanted}, paired by question, "
            f"in points; p: McNemar's exact test, two-sided{compared}.",
            "Seconds: median time of a question, all its wordings together; methods of one "
            "command are decoded together and each shows the time of all of them. Tokens: "
            "what a question sends through the model by this method alone, behind the run's "
            "prefix; the mean. A dash: not known.",
            *numbered,
        ),
    )


def differences_section(reported: Reported) -> Section:
    """The forest plot."""
    title = "Differences to " + (reported.baseline or reported.wanted)
    rows = reported.compared
    if not rows:
        return Section("differences", title, reported.without_baseline)
    best = max(rows, key=lambda row: row.difference.value if row.difference else 0.0)
    assert best.difference is not None
    alt = (
        f"Forest plot of {len(rows)} files: accuracy minus that of {reported.baseline}, with "
        f"{reported.interval}s. The largest is {best.file} with "
        f"{percent_interval(best.difference, signed=True)} points. All numbers are in the table "
        "of scores."
    )
    figure = page_figure(
        f"{reported.key}d", alt,
        "Filled: more than chance after Holm's correction. The same numbers stand under Scores.",
        lambda: difference_figure("", rows, reported.confidence),
    )  # fmt: skip
    return Section("differences", title, figures=(figure,))


def changes_section(reported: Reported) -> Section:
    """What was gained, lost and new."""
    title = "Answers gained, lost and new"
    if not reported.compared:
        return Section("changes", title, reported.without_baseline)
    rows = [row for row in reported.rows if row.comparison is not None]
    details: list[Facts] = []
    for row in rows:
        assert row.comparison is not None
        lists = {"gained": row.comparison.gained, "lost": row.comparison.lost,
                 "new": row.comparison.new or ()}  # fmt: skip
        details.append(tuple((kind, _listed(uuids)) for kind, uuids in lists.items() if uuids))
    no_wordings = PER_PROMPT not in reported.loaded.files
    return Section(
        "changes",
        title,
        tables=(page_table(changes_sheet(reported.loaded, rows), details=details),),
        legend=(
            f"Gained: right here and wrong in {reported.baseline}; lost: the other way round; of "
            f"{PER_PROMPT}, whose accuracy is a mean over wordings, more or less often right. "
            "New: right although no wording alone was"
            + (f" (not known without {PER_PROMPT}.feather)." if no_wordings else "."),
            "Could show: the smallest difference that so many questions show in four of five "
            "samples. Open a row for the questions.",
        ),
    )


def curve_section(reported: Reported) -> Section:
    """Accuracy over the number of wordings."""
    title, loaded = "Number of wordings", reported.loaded
    curve = loaded.curve(reported.cluster)
    if not curve.points:
        why = (
            f"No question has an answer of every wording in {PER_PROMPT}.feather."
            if PER_PROMPT in loaded.files
            else f"There is no {PER_PROMPT}.feather, which has every wording's own answer, and no "
            "method was run with several numbers of wordings."
        )
        return Section("curve", title, why)
    last = {name: curve.series(name)[-1:] for name in (VOTE, ANY, ALL)}
    said = [
        f"{name} {percent_interval(points[0].accuracy)} % with {points[0].num_wordings}"
        for name, points in last.items()
        if points
    ]
    alt = (
        f"Accuracy over the number of wordings, with {reported.interval}s. "
        f"{'; '.join(said) or 'Methods as they were run'}. All numbers are in the table below."
    )
    figure = page_figure(
        f"{reported.key}c", alt,
        "any-of-N and all-of-N are oracles: right where any, or all, of N wordings are.",
        lambda: curve_figure("", curve, reported.confidence),
    )  # fmt: skip
    sheet = curve_sheet(loaded, reported.cluster)
    notes = () if last[VOTE] else (f"No votes and oracles: there is no {PER_PROMPT}.feather.",)
    return Section("curve", title, notes=notes, figures=(figure,),
                   tables=(page_table(sheet, "Accuracy over the number of wordings",
                                      is_folded=True),),
                   legend=(sheet.legend,))  # fmt: skip


def cost_section(reported: Reported) -> Section:
    """What a question costs, against accuracy: tokens where files say them, else seconds."""
    title = "Cost against accuracy"
    scored = [row for row in reported.rows if isfinite(row.accuracy.value)]
    cost: Cost = "tokens" if any(isfinite(row.tokens) for row in scored) else "seconds"
    rows = [row for row in scored if isfinite(getattr(row, cost))]
    if not rows:
        return Section("cost", title, "No file says how long its answers took.")
    ends = [extreme(rows, key=lambda row: getattr(row, cost)) for extreme in (min, max)]
    first, last = (
        f"{row.file} ({getattr(row, cost):.3g} {cost}, {percent(row.accuracy.value)} %)"
        for row in ends
    )
    alt = (
        f"Accuracy against the {cost} of a question, of {len(rows)} files: from {first} to "
        f"{last}. All numbers are in the table below."
    )
    left_out = [row.file for row in scored if row not in rows]
    figure = page_figure(
        f"{reported.key}k", alt, _COST_CAPTIONS[cost],
        lambda: cost_figure("", reported.loaded, rows, reported.confidence, cost),
    )  # fmt: skip
    return Section(
        "cost",
        title,
        notes=(f"Not in the figure, because they do not say their {cost}: {', '.join(left_out)}.",)
        if left_out
        else (),
        figures=(figure,),
        tables=(
            page_table(cost_sheet(reported.loaded, scored), "Cost and accuracy", is_folded=True),
        ),
    )


def _details(reported: Reported, row: ScoreRow) -> Facts:
    """What is seen of a file when its row is opened."""
    made = reported.made(row.file)
    facts = [
        ("lenient match", f"{percent(row.lenient)} %"),
        ("empty answers", str(row.num_no_answer)),
        ("answers that deny an accepted one", str(row.num_denied)),
    ]
    if row.comparison is not None:
        facts.append(("p without correction", p_cell(row.comparison.p_value)))
    for name in ("num_paraphrases", "indices", "segment_weights", "positions", "fusion_point"):
        if made.get(name) is not None:
            facts.append((name.replace("_", " "), value_text(made[name])))
    if row.file in reported.loaded.files and not made:
        facts.append(("manifest", "none"))
    scores = reported.loaded.file(row.file).scores
    for index in scores.paraphrase_indices[:_MOST_WORDINGS]:
        found = scores.of_wording(index).rows
        right = sum(one.accuracy for one in found)
        facts.append((f"wording {index + 1}", f"{right:.0f} of {len(found):,} right"))
    return tuple(facts)


def _tests(rows: Sequence[ScoreRow]) -> str:
    number = sum(isfinite(row.p_holm) for row in rows)
    return f"{number} test{'' if number == 1 else 's'}"


def _listed(uuids: Sequence[str]) -> str:
    more = len(uuids) - _MOST_LISTED
    return ", ".join(uuids[:_MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")

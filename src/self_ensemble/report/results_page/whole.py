"""A report of finished results: one HTML file that needs nothing else."""

from collections.abc import Sequence
from typing import Any

from self_ensemble import __version__
from self_ensemble.analysis.across import across
from self_ensemble.analysis.loaded import DEFAULT_BASELINE, Loaded
from self_ensemble.errors import UserError, unknown_name
from self_ensemble.report.analysis_sheets import across_sheets
from self_ensemble.report.page.page import render_page
from self_ensemble.report.results_page.parts import page_table
from self_ensemble.report.results_page.reported import Reported
from self_ensemble.report.results_page.sections import sections_of
from self_ensemble.report.results_page.texts import examples_section

MAX_BYTES = 5_000_000
NUM_EXAMPLES = 20


def report_page(
    loaded: Sequence[Loaded], *, baseline: str | None = None, cluster: str | None = None
) -> str:
    """Write the page; equal results give equal bytes.

    Where it would be too large it shows fewer example questions, and says how many.

    Args:
        loaded: At least one folder; see `load_folders`.
        baseline: File to compare with; None means `origin` where a folder has it.
        cluster: Column whose values are resampled whole; None resamples questions.

    Raises:
        UserError: No folder has the baseline, the questions of one have no such column, a file
            cannot be read, or the page would be too large all the same.
    """
    known = {name for folder in loaded for name in folder.files}
    if baseline is not None and baseline not in known:
        raise unknown_name("baseline", baseline, known)
    wanted = baseline or DEFAULT_BASELINE
    folders = [_reported(place, folder, wanted, cluster) for place, folder in enumerate(loaded)]
    found = [
        {one.key: one for one in sections_of(folder, folder.loaded.examples(folder.rows))}
        for folder in folders
    ]
    values = _values(loaded, wanted, cluster)
    number = NUM_EXAMPLES
    while True:
        try:
            return render_page(
                "report.html.j2",
                title=_title(loaded),
                style="report.css",
                script="report.js",
                max_bytes=MAX_BYTES,
                folders=[
                    {"key": folder.key, "title": folder.loaded.title,
                     "sections": list(sections.values())}
                    for folder, sections in zip(folders, found, strict=True)
                ],
                **values,
            )  # fmt: skip
        except UserError as error:
            if number == 1:
                raise UserError(
                    f"The report of {len(loaded)} data sets and models is too large for one page. "
                    "Choose with --dataset and --model.",
                    "SE-0017",
                ) from error
            number //= 2
        for folder, sections in zip(folders, found, strict=True):
            examples = folder.loaded.examples(folder.rows, number)
            sections["examples"] = examples_section(folder, examples)


def _reported(place: int, loaded: Loaded, wanted: str, cluster: str | None) -> Reported:
    baseline = wanted if wanted in loaded.files else None
    return Reported(
        f"f{place}",
        loaded,
        loaded.scores(baseline, cluster),
        loaded.made_with(),
        baseline,
        wanted,
        cluster,
    )


def _title(loaded: Sequence[Loaded]) -> str:
    if len(loaded) == 1:
        return f"Report: {loaded[0].title}"
    return f"Report of {len(loaded)} data sets and models"


def _values(loaded: Sequence[Loaded], wanted: str, cluster: str | None) -> dict[str, Any]:
    """What stands above the sections of the folders."""
    judging = loaded[0].judging
    summary = (
        f"Made by self-ensemble {__version__} from finished result files; intervals cover "
        f"{100 * judging.confidence:g} %. Columns can be sorted, rows with a triangle opened."
    )
    sheets = across_sheets(across(loaded, wanted, cluster)) if len(loaded) > 1 else []
    return {
        "summary": summary,
        "overview": [page_table(sheet) for sheet in sheets],
        "overview_legend": [sheet.legend for sheet in sheets if sheet.legend],
    }

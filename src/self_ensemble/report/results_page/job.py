"""Report finished results on one page: what `self-ensemble report` does.

It is here and not among the jobs, because a page is made above them.
"""

from pathlib import Path

from self_ensemble.analysis.loaded import Judging
from self_ensemble.jobs.analyze import load_results
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.report.can_draw import check_can_draw
from self_ensemble.report.files import write_file

DEFAULT_PAGE = "report.html"


def write_report(
    dataset: str | None = None,
    model: str | None = None,
    *,
    output_dir: Path | str = "results",
    output: Path | str = DEFAULT_PAGE,
    baseline: str | None = None,
    lemmatiser: str = "simplemma",
    words: str = "characters",
    confidence: float = 0.95,
    cluster: str | None = None,
    questions: QuestionSet | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write one HTML file with all that finished results can tell; it needs nothing else.

    Args:
        dataset: Name of a data set or path of a file; None for all.
        model: Alias, hub id or path; None for all.
        output_dir: Folder of all results.
        output: The page.
        baseline: Result file that the others are compared with, without .feather; None for
            origin where there is one.
        lemmatiser: "simplemma", "spacy" or "spacy:MODEL".
        words: How words of scripts without blanks are found: "characters" or "icu".
        confidence: Coverage of the intervals, between 0 and 1.
        cluster: Column of the questions whose values are resampled whole; None resamples
            questions.
        questions: The questions that were asked, where `cluster` is a column of theirs.
        progress: Who is told which files cannot be checked.

    Returns:
        The page.

    Raises:
        UserError: There are no such results, they are damaged, an argument cannot be used,
            matplotlib is not installed, or the page cannot be written.

    Example:
        >>> import self_ensemble as se
        >>> made = se.generate(
        ...     se.DataOptions("demo", max_samples=2), methods=["origin", "avg"],
        ...     output_dir=folder,
        ... )
        >>> se.write_report("demo", output_dir=folder, output=folder / "report.html").name
        'report.html'
    """
    check_can_draw("A report")
    loaded = load_results(
        dataset,
        model,
        output_dir=output_dir,
        judging=Judging(lemmatiser, words, confidence),
        questions=questions,
        progress=progress,
    )
    from self_ensemble.report.results_page.whole import report_page

    write_file(Path(output), report_page(loaded, baseline=baseline, cluster=cluster))
    return Path(output)

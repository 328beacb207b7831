"""The tables of a report that no other command shows."""

from collections.abc import Sequence
from math import nan

from self_ensemble.analysis.agreement import Agreement
from self_ensemble.analysis.calibrated import Calibration
from self_ensemble.analysis.loaded import Loaded
from self_ensemble.analysis.score_rows import ScoreRow
from self_ensemble.report.results_page.figures import bin_estimates
from self_ensemble.report.sheet import Column, Sheet
from self_ensemble.scoring.calibration_table import CalibrationRow
from self_ensemble.scoring.statistics import Estimate

_FILE = Column("file", "file", "text")
_LONG = 40  # letters of a column's title


def summary_sheet(loaded: Loaded, rows: Sequence[ScoreRow], cluster: str | None) -> Sheet:
    """Every file: scores with intervals, the difference to the baseline, and what it costs."""
    return Sheet(
        "summary",
        "Every result file",
        (
            _FILE,
            Column("accuracy", "accuracy", "percent", interval=True),
            Column("exact", "exact", "percent", interval=True),
            Column("f1", "F1", "percent", interval=True),
            Column("difference", "difference", "points", interval=True),
            Column("p", "p (Holm)", "p"),
            Column("seconds", "seconds", "seconds"),
            Column("tokens", "tokens", "tokens"),
            Column("questions", "questions"),
            Column("errors", "errors"),
        ),
        tuple(
            (
                row.file,
                row.accuracy,
                loaded.estimate(row.file, "exact_match", cluster),
                loaded.estimate(row.file, "token_f1", cluster),
                row.difference,
                row.p_holm,
                row.seconds,
                row.tokens,
                row.num_scored,
                row.num_errors,
            )
            for row in rows
        ),
        where=loaded.place,
    )


def changes_sheet(loaded: Loaded, rows: Sequence[ScoreRow]) -> Sheet:
    """What every file answers otherwise than the baseline, counted."""
    return Sheet(
        "changes",
        "Answers that changed",
        (
            _FILE,
            Column("gained", "gained"),
            Column("lost", "lost"),
            Column("new", "new"),
            Column("both", "in both"),
            Column("difference", "difference", "points", interval=True),
            Column("detectable", "could show", "percent"),
        ),
        tuple(
            (
                one.file,
                len(one.gained),
                len(one.lost),
                None if one.new is None else len(one.new),
                one.difference.n,
                one.difference,
                one.detectable,
            )
            for one in (row.comparison for row in rows)
            if one is not None
        ),
        where=loaded.place,
    )


def cost_sheet(loaded: Loaded, rows: Sequence[ScoreRow]) -> Sheet:
    """Accuracy beside what a question costs."""
    return Sheet(
        "cost",
        "Cost",
        (
            _FILE,
            Column("accuracy", "accuracy", "percent", interval=True),
            Column("seconds", "seconds, median", "seconds"),
            Column("tokens", "tokens through the model, mean", "tokens"),
            Column("answer_tokens", "tokens of the answers, mean", "tokens"),
        ),
        tuple(
            (row.file, row.accuracy, row.seconds, row.tokens, row.answer_tokens) for row in rows
        ),
        where=loaded.place,
    )


def agreement_sheet(key: str, title: str, found: Agreement) -> Sheet:
    """How often each two answer alike; of the interval only the widest is said."""
    return Sheet(
        key,
        title,
        (
            Column("name", "", "text"),
            *(
                Column(
                    f"with_{place}",
                    name if len(name) <= _LONG else f"{name[:_LONG]}\u2026",
                    "percent",
                )
                for place, name in enumerate(found.names)
            ),
        ),
        tuple(
            (name, *(share.value for share in row))
            for name, row in zip(found.names, found.shares, strict=True)
        ),
    )


def source_name(row: CalibrationRow) -> str:
    """What confidences are from: an estimator, or a file's own log-probabilities."""
    return row.file if row.estimator is None else f"estimator {row.estimator}"


def calibration_sheet(loaded: Loaded, found: Calibration) -> Sheet:
    """Calibration and ranking of every file's confidences."""
    return Sheet(
        "calibration",
        "Every source of confidence",
        (
            Column("file", "confidence of", "text"),
            Column("answers", "answers"),
            Column("accuracy", "accuracy", "percent", interval=True),
            Column("mean_confidence", "mean confidence", "percent", interval=True),
            Column("ece", "ECE", "percent", interval=True),
            Column("brier", "Brier", "number", interval=True),
            Column("auroc", "AUROC", "number", interval=True),
        ),
        tuple(
            (
                source_name(row),
                row.num_answers,
                row.accuracy,
                row.mean_confidence,
                row.ece,
                row.brier,
                row.auroc,
            )
            for row in found.rows
        ),
        where=loaded.place,
    )


def bins_sheet(rows: Sequence[CalibrationRow], confidence: float) -> Sheet:
    """The bins that the figures of calibration show."""
    return Sheet(
        "bins",
        "Bins of confidence",
        (
            Column("file", "confidence of", "text"),
            Column("low", "from", "percent"),
            Column("high", "to", "percent"),
            Column("answers", "answers"),
            Column("mean_confidence", "mean confidence", "percent"),
            Column("accuracy", "accuracy", "percent", interval=True),
        ),
        tuple(
            (
                source_name(row),
                one.low,
                one.high,
                one.accuracy.n,
                one.mean_confidence,
                one.accuracy,
            )
            for row in rows
            for one in bin_estimates(row, confidence)
            if one.accuracy.n
        ),
    )


def robustness_sheet(loaded: Loaded, cluster: str | None) -> Sheet | None:
    """What hangs on the wording; None where there is no `per_prompt`."""
    found = loaded.robustness(cluster)
    if found is None or not found.num_questions:
        return None
    alone = (
        ("worst wording", found.lowest),
        ("best wording", found.highest),
        ("best minus worst", found.fluctuation),
    )
    return Sheet(
        "robustness",
        "What hangs on the wording",
        (
            Column("measure", "measure", "text"),
            Column("value", "percent", "percent", interval=True),
        ),
        (
            ("accuracy of a wording, mean", found.accuracy),
            *((name, Estimate(value, nan, nan, 0)) for name, value in alone),
            ("pairs of wordings that answer alike", found.consistency),
            ("confidence minus accuracy", found.overconfidence),
            ("different words of two wordings", found.lexical_diversity),
        ),
        where=loaded.place,
    )

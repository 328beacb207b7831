"""The tables that `analyze` shows beside the scores, one function each."""

from collections.abc import Sequence
from math import isnan, nan

from self_ensemble.analysis.across import Across
from self_ensemble.analysis.loaded import Loaded
from self_ensemble.analysis.score_rows import ScoreRow
from self_ensemble.report.sheet import Column, Sheet

_FILE = Column("file", "file", "text")
# Folders that fit beside one another in a terminal of 100 columns.
_SIDE_BY_SIDE = 4


def comparison_sheet(loaded: Loaded, rows: Sequence[ScoreRow]) -> Sheet:
    """Each file beside the baseline: the difference, whether it is chance, what was won."""
    compared = [(row.comparison, row.p_holm) for row in rows if row.comparison is not None]
    baseline = compared[0][0].baseline if compared else "a baseline"
    return Sheet(
        "comparison",
        f"{loaded.title}, compared with {baseline}",
        (
            _FILE,
            Column("difference", "difference", "points", interval=True),
            Column("mcnemar_p", "p", "p"),
            Column("mcnemar_p_holm", "p\n(Holm)", "p"),
            Column("detectable_difference", "could\nshow", "percent"),
            Column("gained", "gained"),
            Column("lost", "lost"),
            Column("new", "new"),
        ),
        tuple(
            (
                one.file,
                one.difference,
                one.p_value,
                p_holm,
                one.detectable,
                len(one.gained),
                len(one.lost),
                None if one.new is None else len(one.new),
            )
            for one, p_holm in compared
        ),
        "p: McNemar's exact test; Holm's correction is over this table. Could show: the smallest "
        "difference that so many questions show in four of five samples. New: right although no "
        "wording alone was.",
        where=loaded.place,
    )


def curve_sheet(loaded: Loaded, cluster: str | None = None) -> Sheet:
    """Accuracy over the number of wordings."""
    curve = loaded.curve(cluster)
    left_out = f", {curve.num_left_out} without one left out" if curve.num_left_out else ""
    return Sheet(
        "curve",
        f"{loaded.title}, by number of wordings",
        (
            Column("series", "answers", "text"),
            Column("num_wordings", "N"),
            Column("accuracy", "accuracy", "percent", interval=True),
            Column("lowest", "worst\nsubset", "percent"),
            Column("highest", "best\nsubset", "percent"),
            Column("num_subsets", "subsets"),
        ),
        tuple(
            (
                point.series,
                point.num_wordings,
                point.accuracy,
                point.lowest,
                point.highest,
                point.num_subsets,
            )
            for point in curve.points
        ),
        "Vote and oracles: mean over subsets of N wordings, of the "
        f"{curve.num_questions} questions that every wording has an answer to{left_out}. "
        "Intervals are those of the scores, and not over subsets. any-of-N: "
        "right where any of N is; all-of-N: where all are. Methods: as they were run, with the "
        "first N wordings.",
        where=loaded.place,
    )


def first_token_sheets(loaded: Loaded, cluster: str | None = None) -> list[Sheet]:
    """The first token over the number of wordings; none where nothing was kept to fuse again."""
    curve = loaded.first_token_curve(cluster=cluster)
    if curve is None:
        return []
    left_out = f", {curve.num_left_out} left out" if curve.num_left_out else ""
    alike = (
        ""
        if isnan(curve.alike)
        else f" Of the wordings' own answers {100 * curve.alike:.1f} % are right where their "
        "first token is, and wrong where it is not."
    )
    return [
        Sheet(
            "first_token",
            f"{loaded.title}, first token by number of wordings",
            (
                Column("rule", "rule", "text"),
                Column("num_wordings", "N"),
                Column("first_token_right", "first token\nright", "percent", interval=True),
                Column("lowest", "worst\nsubset", "percent"),
                Column("highest", "best\nsubset", "percent"),
                Column("num_subsets", "subsets"),
                Column("exact", "exact", "percent"),
            ),
            tuple(
                (
                    point.rule,
                    point.num_wordings,
                    point.right,
                    point.lowest,
                    point.highest,
                    point.num_subsets,
                    point.exact,
                )
                for point in curve.points
            ),
            f"From {curve.file}, {curve.num_questions} questions{left_out}: how often an accepted "
            "answer begins with the first token, in percent, mean over subsets of N wordings. "
            f"This is not accuracy: later tokens are not fused again.{alike} Exact: a run over "
            "the whole vocabulary takes the same token.",
            where=loaded.place,
        )
    ]


def robustness_sheets(loaded: Loaded, cluster: str | None = None) -> list[Sheet]:
    """What hangs on the wording, and where fusing helps; none where there is no `per_prompt`."""
    found = loaded.robustness(cluster)
    if found is None:
        return []
    number = found.distinct_answers.value
    distinct = "" if isnan(number) else f"Different answers to a question: {number:.2f}. "
    percent = [
        ("accuracy of a wording, mean", found.accuracy),
        ("consistency: pairs of wordings that answer alike", found.consistency),
        ("overconfidence: confidence minus accuracy", found.overconfidence),
        ("lexical diversity of the wordings", found.lexical_diversity),
    ]
    plain = [
        ("worst wording", found.lowest),
        ("best wording", found.highest),
        ("fluctuation: best minus worst", found.fluctuation),
        ("fluctuation: standard deviation over wordings", found.deviation),
    ]
    measures = Sheet(
        "robustness",
        f"{loaded.title}, {found.num_wordings} wordings of {found.num_questions} questions",
        (
            Column("measure", "measure", "text"),
            Column("value", "percent", "percent", interval=True),
        ),
        tuple(
            [
                *percent,
                *((name, type(found.accuracy)(value, nan, nan, 0)) for name, value in plain),
            ]
        ),
        f"{distinct}Measures after BELIEF (arXiv 2406.12277).",
        where=loaded.place,
    )
    gains = Sheet(
        "correlations",
        f"{loaded.title}, what the gain over the mean wording goes with",
        (
            _FILE,
            Column("lexical_diversity", "diversity\nof words", "number", interval=True),
            Column("answer_diversity", "diversity\nof answers", "number", interval=True),
            Column("mean_accuracy", "mean\naccuracy", "number", interval=True),
        ),
        tuple(
            (one.file, one.lexical_diversity, one.answer_diversity, one.mean_accuracy)
            for one in loaded.correlations()
        ),
        "Pearson's correlation over questions with Fisher's interval. The gain is accuracy minus "
        "the mean wording's, so that chance alone pulls its correlation with that down.",
        where=loaded.place,
    )
    return [measures, gains] if gains.rows else [measures]


def group_sheet(loaded: Loaded, kind: str, baseline: str | None) -> Sheet:
    """Scores of each file on each kind of question."""
    return Sheet(
        f"by_{kind}",
        f"{loaded.title}, by {kind}",
        (
            Column("group", kind, "text"),
            _FILE,
            Column("questions", "questions"),
            Column("accuracy", "accuracy", "percent", interval=True),
            Column("difference", "difference", "points", interval=True),
        ),
        tuple(
            (row.group, row.file, row.accuracy.n, row.accuracy, row.difference)
            for row in loaded.groups(kind, baseline)
        ),
        where=loaded.place,
    )


def across_sheets(across: Across) -> list[Sheet]:
    """Several data sets and models side by side, and each file's difference pooled over sets."""
    overviews = [
        Sheet(
            "overview" if first == 0 else f"overview_{first // _SIDE_BY_SIDE + 1}",
            "Accuracy of every file in every folder",
            (
                _FILE,
                *(
                    Column(title, title.replace(" / ", "\n"), "percent", interval=True)
                    for title in across.titles[first : first + _SIDE_BY_SIDE]
                ),
            ),
            tuple(
                (name, *values[first : first + _SIDE_BY_SIDE])
                for name, values in across.accuracies.items()
            ),
        )
        for first in range(0, len(across.titles), _SIDE_BY_SIDE)
    ]
    pooled = Sheet(
        "pooled",
        f"Difference to {across.baseline}, pooled over data sets",
        (
            _FILE,
            Column("model", "model", "text"),
            Column("datasets", "data\nsets"),
            Column("difference", "difference", "points", interval=True),
            Column("p", "p", "p"),
            Column("tau", "tau", "percent"),
            Column("i_squared", "I2", "percent"),
        ),
        tuple(
            (
                row.file,
                row.model,
                row.pooled.difference.n,
                row.pooled.difference,
                row.pooled.p_value,
                row.pooled.tau,
                row.pooled.i_squared,
            )
            for row in across.pooled
        ),
        "Random effects over data sets (DerSimonian and Laird 1986), in percentage points; the "
        "interval is a normal one, short where there are few data sets. tau: standard deviation "
        "of the true differences between data sets; I2: share of the variance that is not chance. "
        "Where two files never differ on a data set, half a question is added to either side.",
    )
    return [*overviews, pooled] if pooled.rows else overviews

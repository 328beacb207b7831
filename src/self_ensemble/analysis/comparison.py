"""Two methods on the same questions: the difference, is it chance, what was won and lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from self_ensemble.analysis.significance import detectable_difference, mcnemar_exact
from self_ensemble.scoring.statistics import Estimate, paired_difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """A result file beside a baseline, over the questions scored in both.

    Attributes:
        file: The file, without `.feather`.
        baseline: The file that it is compared with.
        difference: Accuracy minus the baseline's, -1 to 1.
        p_value: McNemar's exact test, two-sided; nan where a question is more or less than right
            or wrong (`per_prompt`, whose accuracy is a mean over wordings), or there is none.
        detectable: The smallest difference that so many questions could show; nan if unknown.
        gained: Ids of the questions that are right here and wrong in the baseline.
        lost: Ids of the questions that are wrong here and right in the baseline.
        new: Ids of the questions that are right here although no wording alone was right; None
            where there is no `per_prompt` file. A question that it does not have is none of them.
    """

    file: str
    baseline: str
    difference: Estimate
    p_value: float
    detectable: float
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    new: tuple[str, ...] | None = None


def compare(
    names: tuple[str, str],
    ours: Mapping[str, float],
    baseline: Mapping[str, float],
    *,
    any_wording: Mapping[str, bool] | None = None,
    confidence: float = 0.95,
    clusters: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare the accuracies of two files, paired by question.

    Args:
        names: The two files.
        ours: Accuracy of each question, 0 to 1, by uuid.
        baseline: The same of the baseline.
        any_wording: Whether any wording alone was right, by uuid.
        confidence: Coverage of the interval, between 0 and 1.
        clusters: The cluster of each question; None if questions are independent.
    """
    common = {uuid: ours[uuid] - baseline[uuid] for uuid in ours if uuid in baseline}
    gained = tuple(uuid for uuid, difference in common.items() if difference > 0)
    lost = tuple(uuid for uuid, difference in common.items() if difference < 0)
    binary = common and all(difference in (-1, 0, 1) for difference in common.values())
    return Comparison(
        *names,
        difference=paired_difference(ours, baseline, confidence, clusters=clusters),
        p_value=mcnemar_exact(len(gained), len(lost)) if binary else nan,
        detectable=detectable_difference(common, confidence, clusters),
        gained=gained,
        lost=lost,
        new=None
        if any_wording is None
        else tuple(
            uuid for uuid, value in ours.items() if value > 0 and any_wording.get(uuid) is False
        ),
    )

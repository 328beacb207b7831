"""Asking a dev set batch by batch, as the job does."""

from collections.abc import Sequence

from self_ensemble.ensemble import Ensemble
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.running.choice import WordingChoice
from self_ensemble.running.making import Order
from self_ensemble.weighting.devset import DevSet, DevSetRows
from self_ensemble.weighting.maker import CANDIDATES, CandidateMaker
from self_ensemble.weighting.targets import Target


def ask_dev_set(
    ensemble: Ensemble,
    questions: Sequence[Question],
    choice: WordingChoice,
    target: Target,
    *,
    batch_size: int,
) -> DevSet:
    """What the wordings predict for the right answers of some questions."""
    maker = CandidateMaker(ensemble, choice, target, QuestionSet("", (), (), ""))
    rows = DevSetRows()
    for start in range(0, len(questions), batch_size):
        rows.put([maker.make(questions[start : start + batch_size], Order((CANDIDATES,)))])
    return rows.dev_set(questions)

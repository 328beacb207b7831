"""The meaning check by round trip: does the model answer wording and original alike?"""

from collections.abc import Sequence

from self_ensemble.asking.request import Outcome, Request, Unanswered
from self_ensemble.ensemble import Ensemble
from self_ensemble.questions.schema import Question
from self_ensemble.scoring.lemmas import predict_lemma
from self_ensemble.scoring.normalise import normalise
from self_ensemble.wordings.gate import Reason
from self_ensemble.wordings.pool import Verdict


class AnswerCheck:
    """Passes wordings that a model answers as it answers the original, right or wrong.

    It keeps wordings that agree already, so an ensemble of them has less to gain; and a model
    that answers everything alike passes everything.
    """

    reason: Reason = "check_answer"

    def __init__(self, ensemble: Ensemble) -> None:
        """Check with this ensemble: method `origin`, greedy, the data set's own frame."""
        self._ensemble = ensemble
        self._originals: dict[str, str | Unanswered] = {}

    def __call__(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict]:
        """Judge wordings, each with its question."""
        new = {
            question.uuid: question.wordings[0]
            for question, _ in pairs
            if question.uuid not in self._originals
        }
        answers = self._answers([*new.values(), *(wording for _, wording in pairs)])
        self._originals |= zip(new, answers[: len(new)], strict=True)
        return [
            _verdict(self._originals[question.uuid], answer)
            for (question, _), answer in zip(pairs, answers[len(new) :], strict=True)
        ]

    def _answers(self, texts: Sequence[str]) -> list[str | Unanswered]:
        """Answer each text; "" where it is too long to be asked."""
        requests = [Request(str(number), (text,)) for number, text in enumerate(texts)]
        askable = [one for one in requests if self._ensemble.problem(one) is None]
        found: dict[str, Outcome] = {}
        if askable:
            method = self._ensemble.methods[0].name
            answers = self._ensemble.run(askable)[method]
            found = {one.key: answer for one, answer in zip(askable, answers, strict=True)}
        outcomes = [found.get(one.key) for one in requests]
        return [
            one if isinstance(one, Unanswered) else "" if one is None else one.text
            for one in outcomes
        ]


def _verdict(original: str | Unanswered, answer: str | Unanswered) -> Verdict:
    for one in (original, answer):
        if isinstance(one, Unanswered):
            return Verdict(passed=False, note="", error=one.error)
    assert isinstance(original, str)
    assert isinstance(answer, str)
    return Verdict(same_answer(original, answer), f"answer: {answer}")


def same_answer(one: str, other: str) -> bool:
    """Whether two answers are the same text or the same lemmas; an empty one is like no other."""
    if not normalise(one) or not normalise(other):
        return False
    return normalise(one) == normalise(other) or predict_lemma(one) == predict_lemma(other)

"""Asking a dev set: which questions count, and that batches change nothing."""

from dataclasses import replace

import numpy as np
import pytest
from tests.weighting.dev_sets import ask_dev_set

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Framing, Question
from self_ensemble.running.choice import WordingChoice
from self_ensemble.weighting.pooling import Likelihood
from self_ensemble.weighting.targets import plain_target

CHOICE = WordingChoice(2)


def question(uuid: str, *wordings: str, answer: str = "Paris") -> Question:
    return Question(uuid, wordings or ("Who?", f"Who is {uuid}?"), (answer, "never read"))


@pytest.fixture
def asked(ensemble):
    """Factory `(questions, batch_size=2)` of dev sets."""

    def ask(questions, batch_size=2):
        target = plain_target(ensemble.model.tokenizer, Framing(), ensemble.stop)
        return ask_dev_set(ensemble, questions, CHOICE, target, batch_size=batch_size)

    return ask


def test_questions_that_cannot_be_asked_are_left_out_with_the_reason(asked) -> None:
    bad = [
        question("few", "Only one?"),
        question("blank", answer=" "),
        replace(question("unanswered"), answers=()),
        question("hollow", "Who?", " "),
        question("long", "Who?", "word " * 600),
    ]
    dev_set = asked([question("a"), *bad, question("b")])
    assert [q.uuid for q in dev_set.questions] == ["a", "b"]
    assert len(dev_set.candidates) == 2
    assert list(dev_set.left_out) == [q.uuid for q in bad]
    for uuid, message in (
        ("few", "2 wordings"),
        ("blank", "no text"),
        ("long", "positions"),
        ("unanswered", "no accepted answer"),
        ("hollow", "Wording 1"),
    ):
        assert message in dev_set.left_out[uuid]


def test_nothing_left_is_refused(asked) -> None:
    with pytest.raises(UserError, match=r"No question of the dev set .*\. Row 'few'"):
        asked([question("few", "Only one?")])


def test_the_batch_size_changes_nothing(asked) -> None:
    questions = [question(f"q{n}", answer="Paris" if n % 2 else "stone and") for n in range(5)]
    weights = np.array([0.3, 0.7])
    one, many = (Likelihood(asked(questions, size).candidates).each(weights) for size in (1, 4))
    assert one == pytest.approx(many, abs=1e-3)


def test_the_first_accepted_answer_is_the_right_one(ensemble) -> None:
    seen = []

    def target(answer: str) -> tuple[int, ...]:
        seen.append(answer)
        return (60, 61)

    dev_set = ask_dev_set(ensemble, [question("a")], CHOICE, target, batch_size=1)
    assert seen == ["Paris"]
    assert len(dev_set.candidates[0].right) == 2

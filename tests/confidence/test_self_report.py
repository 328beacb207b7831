"""P(true): what the model says of its own answers."""

import math

import pytest

from self_ensemble.confidence.self_report import EXAMPLES, TOO_LONG, TrueOrFalse, statement
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import next_logits_alone

QUESTIONS = ["Who wrote the play?", "Is the river of the old town slow and wide?", "Stone?"]
ANSWERS = ["William Shakespeare", "", "No, it is made of stone"]


def _text(question, answer):
    """The whole prompt as text, examples first."""
    text = "Say whether the proposed answer to each question is true or false.\n\n"
    for shown, proposed, truth in [*EXAMPLES, (question, answer, None)]:
        text += f"Question: {shown}\nProposed answer: {proposed}\nThe proposed answer is"
        if truth is not None:
            text += f" {truth}.\n\n"
    return text


def test_it_is_the_share_of_true_against_false_after_the_prompt(loaded):
    model = loaded()
    asking = TrueOrFalse(model)
    found = asking.probabilities(QUESTIONS, ANSWERS, batch_size=2)
    true, false = model.tokenizer.convert_tokens_to_ids([" true", " false"])
    assert true != false
    for question, answer, probability in zip(QUESTIONS, ANSWERS, found, strict=True):
        prompt = asking.ensemble.frame.parts([statement(question, answer)]).alone(0)
        assert model.tokenizer.decode(prompt) == _text(question, answer or "(no answer)")
        logits = next_logits_alone(model, prompt).double()
        odds = math.exp(logits[true] - logits[false])
        assert probability == pytest.approx(odds / (1 + odds), abs=1e-4)
    assert len(set(found)) == len(QUESTIONS)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_it_does_not_depend_on_the_batch(loaded, batch_size):
    asking = TrueOrFalse(loaded())
    two = asking.probabilities(QUESTIONS, ANSWERS, batch_size=2)
    assert asking.probabilities(QUESTIONS, ANSWERS, batch_size) == pytest.approx(two, abs=1e-5)


def test_a_prompt_that_is_too_long_has_no_probability_and_the_others_have(loaded):
    asking = TrueOrFalse(loaded(positions=1024))
    expected = asking.probabilities(QUESTIONS, ANSWERS, batch_size=1)
    questions = [QUESTIONS[0], "river " * 1000, *QUESTIONS[1:]]
    answers = [ANSWERS[0], "Yes", *ANSWERS[1:]]
    found = asking.probabilities(questions, answers, batch_size=2)
    assert found.pop(1) == TOO_LONG
    assert found == pytest.approx(expected, abs=1e-5)
    assert asking.probabilities(["river " * 1000], ["Yes"], 2) == [TOO_LONG]
    assert asking.probabilities([], [], 2) == []


def test_half_of_the_examples_are_true():
    assert [truth for *_, truth in EXAMPLES].count("true") == len(EXAMPLES) / 2


def test_a_vocabulary_in_which_both_words_begin_alike_is_refused(loaded):
    with pytest.raises(UserError, match="true and false begin with the same token"):
        TrueOrFalse(loaded(words=()))

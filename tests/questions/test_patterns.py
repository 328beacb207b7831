"""Accepted answers that are regular expressions."""

import time

import pytest

from self_ensemble.errors import UserError
from self_ensemble.questions.patterns import is_pattern, pattern_answer, pattern_found
from self_ensemble.scoring.lemmas import simplemma_lemmatiser
from self_ensemble.scoring.match import exact_match, token_f1
from self_ensemble.scoring.scores import is_right


def test_pattern_is_searched_for_on_every_rung():
    answers = [pattern_answer(r"(Jan\.?|January) 12(th)?")]
    assert is_pattern(answers[0])
    assert not is_pattern("(Jan) 12")
    for text, right in [("on january 12th, 1999", True), ("January 1", False), ("", False)]:
        assert exact_match(text, answers) is right
        assert is_right(text, answers, simplemma_lemmatiser()) is right
        assert token_f1(text, answers) == right


def test_plain_answer_beside_a_pattern_is_compared_as_ever():
    answers = [pattern_answer("x{3}"), "Rome"]
    assert is_right("in Rome", answers, simplemma_lemmatiser())
    assert not is_right("pattern", answers, simplemma_lemmatiser())


def test_pattern_that_cannot_be_read_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"pattern '\(Rome' cannot be read: missing \)"):
        pattern_answer("(Rome")
    with pytest.raises(
        ValueError, match=r"pattern '\(\(.*\.\.\. cannot be read: maximum recursion"
    ):
        pattern_answer("(" * 3_000)
    with pytest.raises(UserError, match=r"answer pattern '\(Rome' cannot be read"):
        pattern_found("(?#pattern)(Rome", "Rome")


def test_pattern_that_would_search_for_ever_is_given_up():
    began = time.monotonic()
    with pytest.raises(UserError, match="takes over 1 s to look for"):
        pattern_found(pattern_answer(r"(?:a|aa|a?)+\d(?<=b)$"), "a" * 60)
    assert time.monotonic() - began < 20

"""Normalisation against SQuAD's published rules, and its properties."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.scoring.normalise import first_line, is_no_answer, normalise


def squad_rules(text: str) -> str:
    """SQuAD's normalisation in the steps in which the paper's appendix names them."""
    text = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@given(st.lists(st.sampled_from(["The", "an", "Cat", "a", "U.S.", "x-ray", "it's", "5", "(b)"])))
def test_ascii_text_is_normalised_by_squads_rules_unless_they_leave_nothing(words):
    text = "  ".join(words)
    expected = squad_rules(text)
    # An "a" that ends the text stays, as in "vitamin A".
    if expected and words[-1] not in {"a", "an"}:
        assert normalise(text) == expected


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cafe\u0301", "caf\u00e9"),
        ("\u201cParis\u201d \u2014 the capital\u2026", "paris capital"),
        ("e'\u0301", "\u00e9"),
        ("\u20ac5 + x", "5 x"),
        ("\u221e", "\u221e"),
        ("A", "a"),
        ("The The", "the the"),
        (" \t.!? ", ""),
        ("\u00bfQu\u00e9?", "qu\u00e9"),
    ],
)
def test_normalised_text(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("generation", "prediction"),
    [
        (" Paris\nQ: what", "Paris"),
        ("\n\n Paris \r\nQ", "Paris"),
        ("Paris", "Paris"),
        ("a\u2028b\nc", "a\u2028b"),
        (" \n \n", ""),
        ("", ""),
    ],
)
def test_prediction_is_the_first_line_with_text(generation, prediction):
    assert first_line(generation) == prediction


@pytest.mark.parametrize(
    ("prediction", "expected"), [("", True), (" ... ", True), ("A", False), ("no", False)]
)
def test_only_a_prediction_without_words_is_no_answer(prediction, expected):
    assert is_no_answer(prediction) is expected

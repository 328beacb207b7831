"""The quality gate, rule by rule, and on wordings that people wrote."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.wordings.gate import REASONS, rejection, same_text

POE = "where did edgar allan poe die in 1849?"


@pytest.mark.parametrize(
    ("original", "wording", "reason"),
    [
        (POE, "", "empty"),
        (POE, " ?! ", "empty"),
        (POE, "Where did Edgar Allan Poe die in 1849", "echo"),
        (POE, "The place where Edgar Allan Poe died in 1849.", "not_a_question"),
        (POE, "Edgar Allan Poe died in Baltimore in 1849?", "not_a_question"),
        (POE, "Where did Poe die? He was Edgar Allan, 1849.", "not_a_question"),
        (POE, "Where did Edgar Allan Poe die in 1849? " * 3, "too_long"),
        (POE, "Where died?", "too_short"),
        (POE, "Was it Baltimore where Edgar Allan Poe died in 1849?", "answer_leaked"),
        (POE, "Where did Edgar Allan Poe die?", "lost_number"),
        (POE, "Where did Edgar Allan Poe die in 1850?", "lost_number"),
        (POE, "In 1849 and 1850, where did Edgar Allan Poe die?", "new_number"),
        (POE, "In 1849, where did Edgar Allan Poe die in 1849?", "new_number"),
        (POE, "Where did Allan Poe die in 1849?", "lost_entity"),
        (POE, "Where did Edgar Allan Poe of Boston die in 1849?", "new_entity"),
        (POE, "When did Edgar Allan Poe die, in 1849?", "asks_else"),
        (POE, "In which city did Edgar Allan Poe die in 1849?", None),
        (POE, "Edgar Allan Poe died where in 1849?", None),
        (POE, "Name the place where Edgar Allan Poe died in 1849", None),
        ("What is the tallest mountain?", "What time is it now?", "off_topic"),
        ("What is the tallest mountain?", "Which mountain is the highest?", None),
        ("Who is Ada Lovelace's father?", "Who was Ada Lovelace?", "off_topic"),
        ("Where is Ada Lovelace?", "Ada Lovelace is where?", None),
        ("Who is Ada Lovelace?", "How old is Ada Lovelace?", "asks_else"),
        ("How old is Ada Lovelace?", "How many years old is Ada Lovelace?", None),
        # Titles keep their words, however they are written.
        ('Who sang "Let It Be"?', "Which singer performed let it be?", None),
        ('who sang "let it be"?', "Which singer sang be it?", "lost_entity"),
        ("Who wrote Heidi?", "Who was the writer of a book?", "lost_entity"),
        # Another ending of a name is no other name.
        ("What do people in Russia speak?", "What do Russian people speak?", None),
        ("Who is Beyoncé's husband?", "Who is the husband of Beyonce?", None),
        # Where every word has a capital, capitals say nothing.
        ("What Is The Best Known Dish?", "Which dish is known best?", None),
        # What a yes-no question or an order is reworded into is not checked for question words.
        ("Is Paris in France?", "Does Paris lie in France?", None),
        ("Tell me where Paris is.", "Paris is where?", None),
    ],
)
def test_the_first_rule_that_a_wording_breaks_is_named(
    original: str, wording: str, reason: str | None
) -> None:
    assert rejection(original, wording, ["Baltimore", "in"]) == reason


@pytest.mark.parametrize(
    ("wording", "reason"),
    [
        ("[MASK] is the author of Heidi.", None),
        ("Who wrote Heidi? [MASK].", None),
        ("Johanna Spyri wrote Heidi.", "lost_blank"),
        ("[MASK] wrote Heidi with [MASK].", "lost_blank"),
        ("Heidi, by Johanna Spyri, was written by [MASK].", "answer_leaked"),
        ("The author is [MASK].", "lost_entity"),
    ],
)
def test_a_cloze_keeps_its_blank_and_need_not_be_a_question(
    wording: str, reason: str | None
) -> None:
    assert rejection("Heidi was written by [MASK].", wording, ["Johanna Spyri"]) == reason


def test_a_wording_that_was_accepted_before_is_a_duplicate() -> None:
    wording = "Who authored Heidi?"
    assert rejection("Who wrote Heidi?", wording, []) is None
    taken = {same_text("who authored the heidi")}
    assert rejection("Who wrote Heidi?", wording, [], taken) == "duplicate"


def test_an_answer_that_stands_in_the_original_is_no_leak() -> None:
    original = "Is Baltimore or Boston the larger city?"
    assert rejection(original, "Which city is larger, Baltimore or Boston?", ["Boston"]) is None


def test_part_of_a_word_and_a_very_short_alias_are_no_leak() -> None:
    original, wording = "Who built the bridge?", "Who was the builder of the bridge in town?"
    assert rejection(original, wording, ["own", "C", "in"]) is None
    assert rejection(original, wording, ["town"]) == "answer_leaked"
    assert rejection(original, "Whose is the bridge, Ada's?", ["Ada"]) == "answer_leaked"


@given(st.text(max_size=40), st.text(max_size=40), st.lists(st.text(max_size=8), max_size=3))
def test_every_text_gets_a_known_reason_or_none(
    original: str, wording: str, answers: list[str]
) -> None:
    assert rejection(original, wording, answers) in {None, *REASONS}


@given(st.text(min_size=1, max_size=40))
def test_a_text_is_never_a_wording_of_itself(text: str) -> None:
    assert rejection(text, text, []) in {"echo", "empty"}


@pytest.mark.parametrize(("name", "most"), [("graphquestions", 0.06), ("trec9_variants", 0.10)])
def test_few_wordings_that_people_wrote_are_refused(
    evaluation_data: Path, name: str, most: float
) -> None:
    """The false alarms of the gate: 5.6 % of 679 pairs and 9.7 % of 145 when it was made."""
    lines = (evaluation_data / name / "test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found = [
        rejection(row["paraphrases"][0], wording, row["answers"])
        for row in rows
        for wording in row["paraphrases"][1:]
    ]
    assert sum(reason is not None for reason in found) / len(found) <= most


def test_wordings_of_other_questions_are_refused(evaluation_data: Path) -> None:
    lines = (evaluation_data / "graphquestions" / "test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    shifted = [*rows[1:], rows[0]]
    found = [
        rejection(row["paraphrases"][0], wording, row["answers"])
        for row, other in zip(rows, shifted, strict=True)
        for wording in other["paraphrases"]
    ]
    assert sum(reason is None for reason in found) / len(found) < 0.01

"""The bundled demo questions are well formed, and nothing in them gives an answer away."""

import json
import re
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "src" / "self_ensemble" / "questions" / "demo.jsonl"
ROWS = [json.loads(line) for line in DEMO.read_text(encoding="utf-8").splitlines()]
EVALUATED = [row for row in ROWS if row["split"] == "question"]
SHOTS = [row for row in ROWS if row["split"] == "shot"]


def words(text: str) -> list[str]:
    """Lower-case words of `text`, without the possessive 's."""
    return re.findall(r"\w+", re.sub(r"['\u2019]s\b", "", text.casefold()))


# Words that any question may share with any other; what is left names the thing asked about.
FUNCTION_WORDS = frozenset(
    words("""
    a an and are at be became become belong belongs by called can capital city could did do does
    for from had has have i if in into is it its made make more most name of on one or than that
    the their this to under was we were what when where which who whom whose with would you
    """)
)


def content_words(text: str) -> set[str]:
    """The words that carry a question's meaning, plural and singular taken as one."""
    return {word.removesuffix("s") for word in words(text) if word not in FUNCTION_WORDS}


def contains_phrase(text: str, phrase: str) -> bool:
    """Whether `phrase` occurs in `text` as a run of whole words."""
    return f" {' '.join(words(phrase))} " in f" {' '.join(words(text))} "


def by_uuid(rows: list[dict]) -> list:
    """One test case a row, named after its uuid."""
    return [pytest.param(row, id=row["uuid"]) for row in rows]


def test_file_is_utf8_without_byte_order_mark_and_with_unix_line_ends():
    raw = DEMO.read_bytes()
    raw.decode("utf-8", errors="strict")
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    assert b"\0" not in raw
    assert raw.endswith(b"}\n")


def test_there_are_one_hundred_questions_and_six_shots():
    assert (len(EVALUATED), len(SHOTS), len(ROWS)) == (100, 6, 106)


def test_first_question_is_the_capital_of_france():
    assert ROWS[0]["paraphrases"][0] == "What is the capital of France?"
    assert ROWS[0]["answers"][0] == "Paris"


def test_uuids_are_unique():
    assert len({row["uuid"] for row in ROWS}) == len(ROWS)


def test_no_wording_belongs_to_two_rows():
    wordings = [tuple(words(wording)) for row in ROWS for wording in row["paraphrases"]]
    assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize("row", by_uuid(ROWS))
def test_row_has_exactly_the_columns_of_the_format(row):
    assert set(row) == {"uuid", "split", "paraphrases", "answers", "topic"}
    assert row["topic"]
    assert row["answers"]
    for text in row["answers"] + row["paraphrases"]:
        assert text
        assert text == " ".join(text.split())
    assert len(set(row["answers"])) == len(row["answers"])


@pytest.mark.parametrize("row", by_uuid(EVALUATED))
def test_question_has_six_distinct_wordings(row):
    assert len(row["paraphrases"]) == 6
    assert len({tuple(words(wording)) for wording in row["paraphrases"]}) == 6


@pytest.mark.parametrize("row", by_uuid(ROWS))
def test_every_wording_ends_with_a_question_mark(row):
    assert [w for w in row["paraphrases"] if not re.fullmatch(r"[^?]+\?", w)] == []


@pytest.mark.parametrize("row", by_uuid(EVALUATED))
def test_all_wordings_of_a_question_name_the_same_thing(row):
    named = set.intersection(*(content_words(wording) for wording in row["paraphrases"]))
    assert named, row["paraphrases"]


@pytest.mark.parametrize("row", by_uuid(ROWS))
def test_no_wording_contains_its_answer(row):
    # One and two characters are left out: they could not be told from an ordinary word.
    leaks = [
        (answer, wording)
        for answer in row["answers"]
        for wording in row["paraphrases"]
        if len(answer) >= 3 and contains_phrase(wording, answer)
    ]
    assert leaks == []


@pytest.mark.parametrize("shot", by_uuid(SHOTS))
def test_shot_answer_has_one_to_three_words(shot):
    assert 1 <= len(words(shot["answers"][0])) <= 3


@pytest.mark.parametrize("shot", by_uuid(SHOTS))
def test_no_shot_gives_away_an_evaluated_question_or_its_answer(shot):
    answers = {" ".join(words(answer)) for row in EVALUATED for answer in row["answers"]}
    assert not answers & {" ".join(words(answer)) for answer in shot["answers"]}
    [question] = shot["paraphrases"]
    assert [answer for answer in answers if contains_phrase(question, answer)] == []

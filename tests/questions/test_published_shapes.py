"""Data sets of this field in the shapes that they are published in."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loading import Writer, load, read

from self_ensemble.errors import UserError
from self_ensemble.questions import load_questions
from self_ensemble.scoring.lemmas import simplemma_lemmatiser
from self_ensemble.scoring.scores import is_right

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Rivers",
            "paragraphs": [
                {
                    "context": "The Amu is long.",
                    "qas": [
                        {
                            "id": "s1",
                            "question": "Which is long?",
                            "answers": [
                                {"text": "The Amu", "answer_start": 0},
                                {"text": "Amu", "answer_start": 4},
                                {"text": "Amu", "answer_start": 4},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "id": "s2",
                            "question": "Which is short?",
                            "answers": [],
                            "plausible_answers": [{"text": "Amu", "answer_start": 4}],
                            "is_impossible": True,
                        },
                    ],
                }
            ],
        }
    ],
}
TRIVIA = {
    "Domain": "Web",
    "Data": [
        {
            "Answer": {
                "Aliases": ["Amu Darya", "Oxus"],
                "NormalizedAliases": ["amu darya", "oxus"],
                "NormalizedValue": "amu darya",
                "Type": "WikipediaEntity",
                "Value": "Amu Darya",
            },
            "Question": "Which river?",
            "QuestionId": "tc_1",
        }
    ],
}
TRIVIA_ROW = {
    "question": "Which river?",
    "question_id": "tc_1",
    "entity_pages": {"title": []},
    "answer": {
        "aliases": ["Amu Darya", "Oxus"],
        "normalized_aliases": ["amu darya", "oxus"],
        "value": "Amu Darya",
        "normalized_value": "amu darya",
    },
}
TRIVIA_READ = [("tc_1", ("Which river?",), ("Amu Darya", "Oxus", "amu darya", "oxus"))]


def test_squad_in_its_nesting(tmp_path: Path) -> None:
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(SQUAD))
    assert read(path) == [
        ("s1", ("Which is long?",), ("The Amu", "Amu")),
        ("s2", ("Which is short?",), ()),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv", "json"])
def test_squad_as_rows(tmp_path: Path, suffix: str) -> None:
    answers = [{"text": ["Amu"], "answer_start": [4]}, {"text": [], "answer_start": []}]
    frame = pd.DataFrame({"id": ["s1", "s2"], "question": ["a?", "b?"], "answers": answers})
    assert read(_write(tmp_path / f"squad.{suffix}", frame)) == [
        ("s1", ("a?",), ("Amu",)),
        ("s2", ("b?",), ()),
    ]


def _write(path: Path, frame: pd.DataFrame) -> Path:
    match path.suffix:
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".json":
            frame.to_json(path)
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            # As pandas shows what it read from Parquet: with arrays of numpy.
            frame = frame.map(
                lambda value: (
                    {k: np.array(v, dtype=object) for k, v in value.items()}
                    if isinstance(value, dict)
                    else value
                )
            )
            frame.to_csv(path, index=False)
    return path


def test_triviaqa_as_published_and_on_the_hub(tmp_path: Path, write_jsonl: Writer) -> None:
    path = tmp_path / "trivia.json"
    path.write_text(json.dumps(TRIVIA, indent=1))
    assert read(path) == TRIVIA_READ
    assert read(write_jsonl("trivia.jsonl", [TRIVIA_ROW])) == TRIVIA_READ
    pd.DataFrame([TRIVIA_ROW]).to_parquet(tmp_path / "trivia.parquet")
    assert read(tmp_path / "trivia.parquet") == TRIVIA_READ


def test_popqa_has_a_list_in_a_text(tmp_path: Path) -> None:
    row = {"id": 4222, "subj": "G", "question": "What is G's job?",
           "possible_answers": '["politician", "political leader"]'}  # fmt: skip
    pd.DataFrame([row]).to_csv(tmp_path / "popqa.tsv", sep="\t", index=False)
    pd.DataFrame([row]).to_parquet(tmp_path / "popqa.parquet")
    for name in ("popqa.tsv", "popqa.parquet"):
        assert read(tmp_path / name) == [
            ("4222", ("What is G's job?",), ("politician", "political leader"))
        ]


def test_patterns_are_searched_for_and_never_shown_as_an_answer(write_jsonl: Writer) -> None:
    rows = [
        {
            "id": "t1",
            "question": "Which bear?",
            "answer_patterns": ["Pooh.+bears?", "^\\s*bears?$"],
        },
        {"id": "t2", "question": "Which car?", "answer_patterns": "[Ff]ord [A-Z]"},
        {"id": "t3", "question": "Which cat?", "answers": ["Tom"], "answer_patterns": ["To+m"]},
        {"id": "t4", "question": "Which dog?", "answers": ["Rex"]},
    ]
    path = write_jsonl("trec.jsonl", rows)
    loaded = {question.uuid: question for question in load(path)}
    right = {"t1": "pooh, one of the bears", "t2": "a FORD T", "t3": "Tooom", "t4": "Rex"}
    wrong = {"t1": "two bears here", "t2": "ford", "t3": "Tm", "t4": "Max"}
    lemmatiser = simplemma_lemmatiser()
    for uuid, question in loaded.items():
        assert is_right(right[uuid], question.answers, lemmatiser), uuid
        assert not is_right(wrong[uuid], question.answers, lemmatiser), uuid
    assert [question.answer_texts for question in loaded.values()] == [(), (), ("Tom",), ("Rex",)]
    shots = load_questions(str(path), num_shots=2).shots
    assert {shot.answer for shot in shots} == {"Tom", "Rex"}
    by_name = load(path, columns="answer_patterns=answers,answers=id")
    assert is_right("a Tom cat", by_name[2].answers, lemmatiser)
    with pytest.raises(
        UserError, match=r"m\.jsonl:1: 'answer_patterns': the pattern '\(a' cannot"
    ):
        load(write_jsonl("m.jsonl", [{"question": "q", "answer_patterns": ["(a"]}]))


@pytest.mark.parametrize("path", ["answer.aliases", "answer.normalized_aliases"])
def test_a_path_leads_into_an_object(write_jsonl: Writer, path: str) -> None:
    file = write_jsonl("trivia.jsonl", [TRIVIA_ROW])
    key = path.partition(".")[2]
    expected = tuple(TRIVIA_ROW["answer"][key])
    assert load(file, columns=f"answers={path}")[0].answers == expected
    with pytest.raises(UserError, match=r"'answer.gold' leads nowhere: no key 'gold', only alia"):
        load(file, columns="answers=answer.gold")

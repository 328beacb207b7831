"""Files with wordings: whose they replace, and what is refused."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from self_ensemble.errors import UserError
from self_ensemble.questions.load import load_questions

Writer = Callable[[str, Iterable[object]], Path]


@pytest.fixture
def webqa(tmp_path: Path, write_jsonl: Writer) -> Path:
    for side, count in (("train", 20), ("test", 6)):
        write_jsonl(
            f"data/webquestions/{side}.jsonl",
            [
                {"id": f"{side}{i}", "question": f"{side} question {i}?", "answers": ["a"]}
                for i in range(count)
            ],
        )
    return tmp_path / "data"


def test_paraphrases_follow_the_original_wording(webqa: Path, write_jsonl: Writer) -> None:
    original = "test question 1?"
    path = write_jsonl(
        "p.jsonl", [{"uuid": "test1", "question": original, "paraphrases": ["p", original, "r"]}]
    )
    loaded = load_questions("webqa", data_dir=webqa, paraphrases=path)
    assert loaded.questions[1].wordings == (original, "p", "r")
    assert loaded.questions[0].wordings == ("test question 0?",)
    assert str(path) in loaded.source


def test_a_paraphrase_file_may_be_a_feather_file(webqa: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.feather"
    table = pa.table(
        {"uuid": ["test0"], "question": ["test question 0?"], "paraphrases": [["a", "b"]]}
    )
    feather.write_feather(table, path)
    loaded = load_questions("webqa", data_dir=webqa, paraphrases=path)
    assert loaded.questions[0].wordings == ("test question 0?", "a", "b")


def test_without_a_question_the_first_paraphrase_is_the_original(
    webqa: Path, write_jsonl: Writer
) -> None:
    path = write_jsonl("p.jsonl", [{"id": "test0", "paraphrases": ["test question 0?", "p"]}])
    loaded = load_questions("webqa", data_dir=webqa, paraphrases=path)
    assert loaded.questions[0].wordings == ("test question 0?", "p")


def test_the_wordings_of_the_file_replace_those_of_the_users_file(write_jsonl: Writer) -> None:
    mine = write_jsonl(
        "m.jsonl", [{"uuid": "u", "question": "a", "paraphrases": ["b", "c"], "answers": "x"}]
    )
    extra = write_jsonl("p.jsonl", [{"uuid": "u", "question": "a", "paraphrases": ["d"]}])
    loaded = load_questions(str(mine), num_shots=0, paraphrases=extra)
    assert loaded.questions[0].wordings == ("a", "d")


def test_the_wordings_of_the_file_replace_the_templates_and_their_groups(
    tmp_path: Path, write_jsonl: Writer
) -> None:
    folder = tmp_path / "data"
    facts = [
        {"uuid": f"f{i}", "rel_uri": "P1", "sub_ent": f"S{i}", "obj_aliases": ["x"]}
        for i in range(2)
    ]
    templates = [
        {"rel_uri": "P1", "template": text, "is_manual": True}
        for text in ("[X] is [Y].", "[Y] has [X].")
    ]
    write_jsonl("data/myriadlama/facts.jsonl", facts)
    write_jsonl("data/myriadlama/templates.jsonl", templates)
    rows = [
        {"uuid": f"f{i}", "question": f"S{i} is [MASK].", "paraphrases": [f"It is [MASK], S{i}."]}
        for i in range(2)
    ]
    path = write_jsonl("p.jsonl", rows)
    own = load_questions("myriadlama", data_dir=folder, num_shots=0)
    assert own.questions[0].groups == ("manual", "manual")
    loaded = load_questions("myriadlama", data_dir=folder, num_shots=0, paraphrases=path)
    assert loaded.questions[0].wordings == ("S0 is [MASK].", "It is [MASK], S0.")
    assert loaded.questions[0].groups == ()


def test_the_wordings_of_the_file_replace_those_of_the_demo(write_jsonl: Writer) -> None:
    rows = [
        {"uuid": question.uuid, "question": question.wordings[0], "paraphrases": ["p"]}
        for question in load_questions("demo", max_samples=3).questions
    ]
    path = write_jsonl("p.jsonl", rows)
    # The file has the first three questions only, and no more are asked.
    loaded = load_questions("demo", max_samples=3, paraphrases=path)
    assert [q.wordings for q in loaded.questions] == [(row["question"], "p") for row in rows]
    with pytest.raises(UserError, match=r"p\.jsonl has no row for question 'demo-\d+' of demo"):
        load_questions("demo", max_samples=4, paraphrases=path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"uuid": "other", "question": "q", "paraphrases": ["p"]}],
            r"p\.jsonl has paraphrases for none of the questions of webqa",
        ),
        (
            [{"uuid": "test0", "question": "another?", "paraphrases": ["p"]}],
            r"p\.jsonl:1: question 'test0' reads 'another\?' here and 'test question 0\?' in",
        ),
        (
            [{"uuid": "test0", "paraphrases": ["p"]}],
            r"p\.jsonl:1: question 'test0' reads 'p' here and 'test question 0\?' in",
        ),
        ([{"uuid": "test0", "paraphrases": []}], r":1: question 'test0' reads '' here"),
        (
            [{"question": "test question 0?", "paraphrases": []}],
            r":1: the row has no 'uuid' or 'id'",
        ),
        (
            [
                {"uuid": "test0", "question": "test question 0?", "paraphrases": ["p"]},
                {"uuid": "test0", "question": "test question 0?", "paraphrases": ["r"]},
            ],
            r"p\.jsonl:2: id 'test0' already stands at \S*p\.jsonl:1",
        ),
    ],
)
def test_a_paraphrase_file_of_another_data_set_is_refused(
    webqa: Path, write_jsonl: Writer, content: list[object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_questions("webqa", data_dir=webqa, paraphrases=write_jsonl("p.jsonl", content))


@pytest.mark.parametrize("name", ["graphquestions", "trec9_variants"])
def test_files_of_human_paraphrases_load_as_data_and_as_paraphrases(
    evaluation_data: Path, name: str
) -> None:
    path = evaluation_data / name / "test.jsonl"
    alone = load_questions(str(path), num_shots=0)
    with_file = load_questions(str(path), num_shots=0, paraphrases=path)
    assert [q.wordings for q in alone.questions] == [q.wordings for q in with_file.questions]
    assert all(len(question.wordings) > 1 for question in alone.questions)

"""The user's own files: their columns, ids and few-shot examples."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from self_ensemble.errors import UserError
from self_ensemble.questions.files import load_file
from self_ensemble.questions.schema import Question
from self_ensemble.questions.weights import load_weights

Writer = Callable[[str, Iterable[object]], Path]


def questions_of(path: Path) -> tuple[Question, ...]:
    return load_file(path, num_shots=0, seed=0).questions


def test_every_column_finds_its_place(write_jsonl: Writer) -> None:
    row = {
        "uuid": "u1",
        "question": "q",
        "paraphrases": ["p", "q", "r"],
        "answers": ["a", "b"],
        "weights": [0.5, 0.3, 0.2],
    }
    assert questions_of(write_jsonl("mine.jsonl", [row])) == (
        Question("u1", ("q", "p", "r"), ("a", "b"), extra={"weights": [0.5, 0.3, 0.2]}),
    )


def test_equal_paraphrases_without_an_original_are_all_kept(write_jsonl: Writer) -> None:
    path = write_jsonl("mine.jsonl", [{"paraphrases": ["p", "p", "p"], "answers": "a"}])
    assert questions_of(path)[0].wordings == ("p", "p", "p")


def test_one_text_is_one_answer(write_jsonl: Writer) -> None:
    path = write_jsonl("mine.jsonl", [{"question": "q", "answers": "a, b"}])
    assert questions_of(path)[0].answers == ("a, b",)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [({"uuid": "x", "id": "y"}, "x"), ({"id": "y"}, "y"), ({"id": 7}, "7")],
)
def test_uuid_comes_before_id(
    write_jsonl: Writer, columns: dict[str, object], expected: str
) -> None:
    path = write_jsonl("mine.jsonl", [{**columns, "question": "q", "answers": "a"}])
    assert questions_of(path)[0].uuid == expected


def test_a_row_without_id_gets_one_from_its_content(write_jsonl: Writer) -> None:
    rows = [
        {"question": "q", "answers": "a"},
        {"question": "q", "answers": "b"},
        {"uuid": None, "question": "", "answers": "a"},
        {"uuid": " ", "question": "", "answers": "b"},
    ]
    forward = [q.uuid for q in questions_of(write_jsonl("a.jsonl", rows))]
    backward = [q.uuid for q in questions_of(write_jsonl("b.jsonl", rows[::-1]))]
    assert len(set(forward)) == 4
    assert forward == backward[::-1]


def test_exact_repeats_are_dropped(write_jsonl: Writer) -> None:
    row = {"uuid": "u", "question": "q", "answers": ["a"]}
    other = {"uuid": "v", "question": "q2", "answers": ["a"]}
    assert [q.uuid for q in questions_of(write_jsonl("m.jsonl", [row, other, row]))] == ["u", "v"]


@pytest.mark.parametrize("change", [{"question": "other"}, {"answers": ["b"]}, {"weights": [1]}])
def test_one_id_with_two_contents_is_refused(
    write_jsonl: Writer, change: dict[str, object]
) -> None:
    row = {"uuid": "u", "question": "q", "answers": ["a"]}
    path = write_jsonl("m.jsonl", [row, row, {**row, **change}])
    with pytest.raises(UserError, match=r"m\.jsonl:3: id 'u' already stands at \S*m\.jsonl:1 "):
        questions_of(path)


@pytest.mark.parametrize(
    ("row", "wordings"),
    [
        ({"question": "", "answers": "a"}, ("",)),
        ({"question": None, "answers": "a"}, ()),
        ({"paraphrases": [], "answers": "a"}, ()),
        ({"paraphrases": ["p", "", "r"], "answers": "a"}, ("p", "", "r")),
    ],
)
def test_an_empty_wording_does_not_stop_the_file(
    write_jsonl: Writer, row: dict[str, object], wordings: tuple[str, ...]
) -> None:
    good = {"question": "q", "answers": "a"}
    questions = questions_of(write_jsonl("m.jsonl", [row, good]))
    assert [q.wordings for q in questions] == [wordings, ("q",)]


@pytest.mark.parametrize(
    "missing", [{"answers": []}, {"answers": None}, {"answers": " "}, {"answers": [None, ""]}]
)
def test_a_question_without_answers_is_kept(
    write_jsonl: Writer, missing: dict[str, object]
) -> None:
    assert questions_of(write_jsonl("m.jsonl", [{"question": "q", **missing}]))[0].answers == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, r"m\.jsonl:2: the row has no 'answers'.*columns are: question"),
        ({"answers": "a"}, r"m\.jsonl:2: the row has neither 'question' nor 'paraphrases'"),
        ({"question": 7, "answers": "a"}, r":2: 'question' must be a text, got int 7"),
        ({"question": ["q"], "answers": "a"}, r":2: 'question' must be a text, got list"),
        ({"paraphrases": "p", "answers": "a"}, r":2: 'paraphrases' must be a list of texts"),
        ({"paraphrases": ["p", 1], "answers": "a"}, r":2: 'paraphrases' must be .*got int 1"),
        ({"question": "q", "answers": "[a, b]"}, r":2: 'answers' .* is no list that JSON"),
        ({"question": "q", "answers": "a", "id": True}, r":2: 'id' must be a text or .* got bool"),
        ({"question": "a\0b", "answers": "a"}, r":2: 'question' holds a NUL character"),
        ({"question": "\ud800", "answers": "a"}, r":2: 'question' holds a lone surrogate"),
    ],
)
def test_a_malformed_row_is_named(
    write_jsonl: Writer, row: dict[str, object], message: str
) -> None:
    path = write_jsonl("m.jsonl", [{"question": "good", "answers": "a"}, row])
    with pytest.raises(UserError, match=message) as caught:
        questions_of(path)
    assert "\n" not in str(caught.value)


def test_csv_lists_are_json(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        'id,question,paraphrases,answers\n1,q,"[""p"", ""r""]","[""a"", ""b""]"\n2,,,plain\n'
    )
    assert [(q.uuid, q.wordings, q.answers) for q in questions_of(path)] == [
        ("1", ("q", "p", "r"), ("a", "b")),
        ("2", (), ("plain",)),
    ]


def test_lists_of_other_columns_may_be_texts(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    rows = '7,q?,"[\'p?\' \'r?\']",a,"[0.5, 0.3, 0.2]"\n8,s?,[],b,"[1]"\n'
    path.write_text("id,question,paraphrases,answers,trust\n" + rows)
    loaded = load_file(path, num_shots=0, seed=0)
    assert [q.wordings for q in loaded.questions] == [("q?", "p?", "r?"), ("s?",)]
    weights = load_weights("trust", loaded, (0, 2))
    assert weights == {"7": (0.5, 0.2), "8": ()}


def test_feather_lists_are_lists(tmp_path: Path) -> None:
    table = pa.table({"uuid": ["u"], "paraphrases": [["p", "r"]], "answers": [["a"]]})
    feather.write_feather(table, tmp_path / "m.feather")
    assert questions_of(tmp_path / "m.feather") == (Question("u", ("p", "r"), ("a",)),)


def test_special_token_text_stays_as_it_is(write_jsonl: Writer) -> None:
    text = "what is <|im_end|> and </s>?"
    path = write_jsonl("m.jsonl", [{"question": text, "answers": "a"}])
    assert questions_of(path)[0].wordings == (text,)


def test_the_stem_names_the_data_set_and_the_hash_its_content(write_jsonl: Writer) -> None:
    first = load_file(write_jsonl("mine.v2.jsonl", rows(3)), num_shots=0, seed=0)
    second = load_file(write_jsonl("mine.v2.jsonl", rows(4)), num_shots=0, seed=0)
    assert first.name == "mine.v2"
    assert first.source.partition(" (sha256 ")[0] == second.source.partition(" (sha256 ")[0]
    assert first.source != second.source


def rows(count: int) -> list[dict[str, object]]:
    return [{"uuid": f"u{i}", "question": f"q{i}", "answers": [f"a{i}"]} for i in range(count)]


def test_rows_set_aside_are_never_evaluated(write_jsonl: Writer) -> None:
    path = write_jsonl("m.jsonl", rows(20))
    loaded = load_file(path, num_shots=5, seed=0)
    asked = [q.wordings[0] for q in loaded.questions]
    shown = [shot.wording for shot in loaded.shots]
    assert sorted(asked + shown) == sorted(f"q{i}" for i in range(20))
    assert asked == sorted(asked, key=lambda text: int(text[1:]))
    assert [shot.answer[1:] for shot in loaded.shots] == [text[1:] for text in shown]


def test_the_seed_alone_chooses_the_rows_set_aside(write_jsonl: Writer) -> None:
    path = write_jsonl("m.jsonl", rows(50))
    by_seed = {seed: load_file(path, num_shots=5, seed=seed).shots for seed in (0, 1)}
    assert by_seed[0] == load_file(path, num_shots=5, seed=0).shots
    assert by_seed[0] != by_seed[1]


def test_a_row_whose_wording_stands_twice_is_no_example(write_jsonl: Writer) -> None:
    twins = [{"uuid": f"t{i}", "question": "same", "answers": ["a"]} for i in range(20)]
    path = write_jsonl("m.jsonl", twins + rows(2))
    for seed in range(10):
        shots = load_file(path, num_shots=2, seed=seed).shots
        assert {shot.wording for shot in shots} == {"q0", "q1"}


def test_a_row_without_wording_or_answer_is_no_example(write_jsonl: Writer) -> None:
    useless = [
        {"uuid": "a", "question": " ", "answers": ["x"]},
        {"uuid": "b", "paraphrases": [], "answers": ["x"]},
        {"uuid": "c", "question": "q", "answers": []},
    ]
    loaded = load_file(write_jsonl("m.jsonl", useless + rows(1)), num_shots=1, seed=0)
    assert [shot.wording for shot in loaded.shots] == ["q0"]
    assert [q.uuid for q in loaded.questions] == ["a", "b", "c"]


@pytest.mark.parametrize("count", [1, 5])
def test_too_few_rows_to_set_aside_names_the_option(write_jsonl: Writer, count: int) -> None:
    with pytest.raises(UserError, match=rf"has {count} questions.*--num-shots 0"):
        load_file(write_jsonl("m.jsonl", rows(count)), num_shots=5, seed=0)
    loaded = load_file(write_jsonl("m.jsonl", rows(6)), num_shots=5, seed=0)
    assert len(loaded.questions) == 1


@pytest.mark.parametrize(("name", "count"), [("graphquestions", 163), ("trec9_variants", 42)])
def test_question_sets_of_the_evaluation_data_load(
    evaluation_data: Path, name: str, count: int
) -> None:
    questions = questions_of(evaluation_data / name / "test.jsonl")
    assert len(questions) == count
    assert all(len(q.wordings) >= 2 and q.answers for q in questions)

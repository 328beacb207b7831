"""Which column is which: by the names that data sets use, and by the user's."""

import pytest
from loading import Writer, load

from self_ensemble.errors import UserError
from self_ensemble.questions import load_questions


@pytest.mark.parametrize(
    ("row", "question", "answers"),
    [
        ({"question": "q?", "answer": ["a", "b"]}, "q?", ("a", "b")),  # NQ-open
        ({"question": "q?", "answer": "a"}, "q?", ("a",)),
        ({"question": "q?", "answer": "a", "answer_aliases": ["b", "a"]}, "q?", ("a", "b")),
        ({"question": "q?", "answer": "a", "answer_pattern": "b+"}, "q?", ("a", "(?#pattern)b+")),
        (
            {"url": "u", "utterance": "q?", "targetValue": '(list (description "a b"))'},
            "q?",
            ("a b",),
        ),
        ({"url": "u", "question": "q?", "answers": ["a"]}, "q?", ("a",)),
        ({"question": "is it?", "answer": True, "passage": "p"}, "is it?", ("yes", "true")),
        ({"Question": "q?", "ANSWERS": "a"}, "q?", ("a",)),
        ({"question": "q?", "choices": ["a", "b"], "answer": "b"}, "q?", ("b",)),
    ],
)
def test_columns_are_known_by_the_names_that_data_sets_use(
    write_jsonl: Writer, row: dict[str, object], question: str, answers: tuple[str, ...]
) -> None:
    loaded = load(write_jsonl("m.jsonl", [row]))[0]
    assert (loaded.wordings, loaded.answers) == ((question,), answers)


@pytest.mark.parametrize(
    ("row", "uuid"),
    [
        ({"qid": "x"}, "x"),
        ({"question_id": 7}, "7"),
        ({"_id": "x"}, "x"),
        ({"ID": "x"}, "x"),
        ({"id": 7.0}, "7"),
        ({"uuid": "u", "id": "i", "qid": "q"}, "u"),
    ],
)
def test_ids_under_other_names(write_jsonl: Writer, row: dict[str, object], uuid: str) -> None:
    assert load(write_jsonl("m.jsonl", [{"question": "q", "answer": "a", **row}]))[0].uuid == uuid


def test_the_user_names_the_columns(write_jsonl: Writer) -> None:
    row = {"q": "one?", "gold": "a", "key": 3, "others": ["two?"], "question": "no", "answers": 0}
    path = write_jsonl("m.jsonl", [row])
    loaded = load(path, columns="question=q, answers=gold,id=key,paraphrases=others")[0]
    assert (loaded.uuid, loaded.wordings, loaded.answers) == ("3", ("one?", "two?"), ("a",))


def test_a_column_that_the_user_gave_a_role_has_no_other(write_jsonl: Writer) -> None:
    rows = [{"question": f"{name}?", "id": "x"} for name in ("a", "b")]
    loaded = load(write_jsonl("m.jsonl", rows), columns="answers=id")
    assert [question.answers for question in loaded] == [("x",), ("x",)]
    assert "x" not in {question.uuid for question in loaded}


def test_a_column_with_a_point_in_its_name_comes_before_a_path(write_jsonl: Writer) -> None:
    row = {"question": "a?", "answer": {"aliases": ["x"]}, "answer.aliases": ["y"]}
    path = write_jsonl("m.jsonl", [row])
    assert load(path, columns="answers=answer.aliases")[0].answers == ("y",)


def test_wordings_may_stand_in_columns_of_their_own(write_jsonl: Writer) -> None:
    rows = [
        {"q": "who?", "w2": "which one?", "w3": "what man?", "a": "x", "note": "n"},
        {"q": "when?", "w2": "", "w3": "what year?", "a": "y", "note": "n"},
        {"q": "where?", "w3": "which place?", "a": "z", "note": "n"},
    ]
    path = write_jsonl("m.jsonl", rows)
    loaded = load(path, columns="question=q,paraphrases=w2 + w3,answers=a")
    assert [question.wordings for question in loaded] == [
        ("who?", "which one?", "what man?"), ("when?", "what year?"), ("where?", "which place?"),
    ]  # fmt: skip
    assert loaded[0].extra == {"note": "n"}
    with pytest.raises(UserError, match=r"there is no column 'w4'\. The columns are: q, w2"):
        load(path, columns="question=q,paraphrases=w2+w4,answers=a")
    with pytest.raises(UserError, match=r"'w2' must be a list of texts \(columns of one wording"):
        load(path, columns="question=q,paraphrases=w2,answers=a")


def test_a_column_with_a_plus_in_its_name_is_one_column(write_jsonl: Writer) -> None:
    path = write_jsonl("m.jsonl", [{"question": "q", "a+b": ["r", "s"], "answers": "x"}])
    assert load(path, columns="paraphrases=a+b")[0].wordings == ("q", "r", "s")


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        (
            {"q": "x", "a": "y"},
            None,
            r":1: the row has neither .* columns are: q, a\..* --columns ",
        ),
        ({"question": "x", "a": "y"}, None, r"the row has no 'answers'.*--columns question=NAME,"),
        ({"question": "x"}, "answers=gold", r":1: there is no column 'gold'.* are: question\."),
        ({"question": "x", "Question": "y", "answers": "a"}, None, r"'question' and 'Question'"),
        ({"question": "x", "answer": "a", "possible_answers": "b"}, None, r"--columns answers=an"),
        ({"question": "x", "answers": "a"}, "answer=b", r"'answer'\. Did you mean 'answers'"),
        ({"question": "x", "answers": "a"}, "answers", r"Got --columns 'answers'\. Write --col"),
        ({"question": "x", "answers": "a"}, "id=a,uuid=b", r"names id twice"),
        ({"question": "x", "choices": ["a", "b"], "answer": 1}, None, r"'answer' is 1, the mark"),
        ({"question": "x", "options": {"A": "b"}, "answer": "A"}, None, r"is 'A', the mark of"),
    ],
)
def test_columns_that_are_not_clear_are_refused(
    write_jsonl: Writer, row: dict[str, object], columns: str | None, message: str
) -> None:
    path = write_jsonl("m.jsonl", [row])
    with pytest.raises(UserError, match=message):
        load_questions(str(path), num_shots=0, columns=columns)


def test_a_chosen_column_that_a_row_lacks_is_not_made_up_from_another(write_jsonl: Writer) -> None:
    rows = [{"question": "a?", "gold": "x", "p": ["b?"]}, {"question": "c?", "gold": "y"}]
    options = {"columns": "answers=gold,paraphrases=p"}
    path = write_jsonl("m.jsonl", rows)
    assert [q.wordings for q in load(path, **options)] == [("a?", "b?"), ("c?",)]
    path = write_jsonl("m.jsonl", [*rows, {"question": "d?", "answers": "z"}])
    with pytest.raises(UserError, match=r"m\.jsonl:3: the row has no 'answers'"):
        load(path, **options)

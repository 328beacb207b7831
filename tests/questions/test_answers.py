"""Answers in every notation that people's files have: read exactly, or refused."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from self_ensemble.errors import UserError
from self_ensemble.questions.answers import answers_of
from self_ensemble.questions.files import load_file

Writer = Callable[[str, Iterable[object]], Path]


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ("Paris", ("Paris",)),
        ("Paris, France", ("Paris, France",)),
        ('["Paris", "PARIS"]', ("Paris", "PARIS")),
        ("['Paris', 'PARIS']", ("Paris", "PARIS")),
        ("('Paris', 'PARIS')", ("Paris", "PARIS")),
        ("('Paris',)", ("Paris",)),
        ("{'Paris'}", ("Paris",)),
        ("['Paris' 'PARIS']", ("Paris", "PARIS")),
        ("['Paris'\n 'PARIS']", ("Paris", "PARIS")),
        ("['Paris'\r\n 'PARIS']", ("Paris", "PARIS")),
        ("array(['Paris', 'PARIS'], dtype=object)", ("Paris", "PARIS")),
        ("[np.str_('Paris'), np.str_('PARIS')]", ("Paris", "PARIS")),
        ("[u'Paris', u'PARIS']", ("Paris", "PARIS")),
        ("{'text': array(['x'], dtype=object), 'answer_start': array([1])}", ("x",)),
        ('{"text": ["x", "x", "y"], "answer_start": [1, 2, 3]}', ("x", "y")),
        ({"text": ["x"], "answer_start": [1]}, ("x",)),
        ([{"text": "x", "answer_start": 1}, {"text": "y", "answer_start": 2}], ("x", "y")),
        (
            {"value": "V", "aliases": ["W"], "normalized_aliases": ["v", "W"]},
            ("V", "W", "v"),
        ),
        ({"Value": "V", "Aliases": ["W"], "NormalizedAliases": ["v"]}, ("V", "W", "v")),
        ({"value": "<unk>", "aliases": []}, ()),
        ({"value": "V", "aliases": [], "human_answers": ["W"]}, ("V", "W")),
        ([{"answer": "A", "answer_id": "m.1", "aliases": ["B"]}], ("A", "B")),
        ([{"type": "entity", "entity": "Q1", "text": "A", "aliases": ["B"]}], ("A", "B")),
        (["No Answer Present."], ()),
        ('(list (description "Paris") (description New York))', ("Paris", "New York")),
        (r'(list (description "the \"Bird\""))', ('the "Bird"',)),
        (1945, ("1945",)),
        (2**80, (str(2**80),)),
        (0.1, ("0.1",)),
        ([1, "two"], ("1", "two")),
        (True, ("yes", "true")),
        (False, ("no", "false")),
        ("[1, 2.50]", ("1", "2.50")),
        ("1.0", ("1.0",)),
        ("AT&amp;T", ("AT&amp;T",)),
        ("Paris\r\n", ("Paris",)),
        ("AC/DC", ("AC/DC",)),
        ('"Heroes"', ('"Heroes"',)),
        ("(500) Days of Summer", ("(500) Days of Summer",)),
        (["Paris|PARIS", "[1, 2]"], ("Paris|PARIS", "[1, 2]")),
        (["None"], ("None",)),
        *((nothing, ()) for nothing in ("", " \n", "[]", "()", "set()", [], [None, " "], None)),
    ],
)
def test_what_is_unmistakable_is_read(value: object, answers: tuple[str, ...]) -> None:
    assert answers_of(value) == answers


@pytest.mark.parametrize(
    "value",
    [
        "Paris|PARIS", "Paris; PARIS", "Paris\nPARIS", "Paris\tPARIS", "Paris / PARIS",
        "Paris###PARIS", "Paris<SEP>PARIS", "[Paris, PARIS]", "{Paris,PARIS}", "['a' 'b' ... 'c']",
        "['Paris', 'PAR", "'a', 'b'", "(1, 2)", "(Paris, PARIS)", "['a''b']", "('a' 'b')",
        "['a', ['b']]", [["a"]], {"a": "b"}, "{}", "b'Paris'", ["['a', 'b']"], "nan", "None",
        "<NA>", "null", float("inf"), "[list('ab')]", "(list (number 3))", b"\xff",
        {"text": "a", "is_correct": False}, [{"text": "a", "label": 0}], {"value": 5, "unit": "m"},
        {"name": "A", "aliases": ["B"]}, {"aliases": ["B"], "wrong": ["C"]},
        "['\\d']", "[1,000]", "[1_000]", "dict_values(['a'])", "Decimal('3.5')", "tensor([3])",
        "np.float64(3.5)", "datetime.date(1971, 9, 18)", '"[\\"a\\", \\"b\\"]"',
    ],
    ids=repr,
)  # fmt: skip
def test_what_may_be_read_in_two_ways_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        answers_of(value)


@pytest.mark.parametrize(
    ("text", "separator", "answers"),
    [
        ("Paris | PARIS|", "|", ("Paris", "PARIS")),
        ("Paris;PARIS", ";", ("Paris", "PARIS")),
        ("Paris|PARIS", "none", ("Paris|PARIS",)),
        ("['a', 'b']", "none", ("['a', 'b']",)),
        ("None", "none", ("None",)),
        ("['a|b', 'c']", "|", ("a|b", "c")),
        (["a|b"], "|", ("a|b",)),
    ],
)
def test_the_user_says_what_separates_answers(
    text: object, separator: str, answers: tuple[str, ...]
) -> None:
    assert answers_of(text, separator) == answers


# Answers as hostile as they come: what notations are made of, and whatever else there is.
PIECES = st.sampled_from(
    ["'", '"', "\\", ",", "[", "]", "(", ")", "{", "}", " ", "\n", "|", ";", "...", "a", "None",
     "\u00e9", "\u6771", "\U0001f1eb", "nan", "1.0", "\\n", "array([", "np.str_('"]
)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=6).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
ANSWERS = st.lists(TEXTS.filter(str.strip), min_size=1, max_size=4)
WRITTEN = {
    "JSON": json.dumps,
    "JSON in Unicode": lambda answers: json.dumps(answers, ensure_ascii=False),
    "a Python list": repr,
    "a Python tuple": lambda answers: repr(tuple(answers)),
    "a numpy array": lambda answers: str(np.array(answers, dtype=object)),
    "its repr": lambda answers: repr(np.array(answers, dtype=object)),
    "a SQuAD object": lambda answers: str(
        {"text": np.array(answers, dtype=object), "answer_id": 1}
    ),
    "a SQuAD object as JSON": lambda answers: json.dumps({"text": answers, "answer_start": [1]}),
}


@pytest.mark.parametrize("notation", WRITTEN)
@given(answers=ANSWERS)
def test_a_written_list_is_read_exactly_or_refused(notation: str, answers: list[str]) -> None:
    wanted = tuple(dict.fromkeys(answers)) if "SQuAD" in notation else tuple(answers)
    assert _read(WRITTEN[notation](answers)) in (wanted, None)


def _read(text: str) -> tuple[str, ...] | None:
    try:
        return answers_of(text)
    except ValueError:
        return None


def test_hardly_any_written_list_is_refused() -> None:
    """The property above would hold if everything were refused."""
    answers = ["it's", 'a "b"', "c, d", "[e]", "f\ng", "h; i", "\u00e9 \u6771"]
    for notation, write in WRITTEN.items():
        assert _read(write(answers)) == tuple(answers), notation


@given(answers=st.lists(ANSWERS, min_size=1, max_size=3))
def test_what_pandas_and_arrow_write_is_read_exactly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, answers: list[list[str]]
) -> None:
    for path in _written(tmp_path_factory.mktemp("tables"), answers):
        assert _loaded(path) in ([tuple(item) for item in answers], None), path.name


def test_hardly_any_written_table_is_refused(tmp_path: Path) -> None:
    answers = [["it's", 'a "b"'], ["c, d\ne"], ["\u00e9", "\u6771", "h|i"]]
    for path in _written(tmp_path, answers):
        assert _loaded(path) == [tuple(item) for item in answers], path.name


def _written(folder: Path, answers: list[list[str]]) -> list[Path]:
    frame = pd.DataFrame({"question": [f"q{i}" for i in range(len(answers))], "answers": answers})
    frame.to_csv(folder / "lists.csv", index=False)
    arrays = frame.assign(answers=[np.array(item, dtype=object) for item in answers])
    arrays.to_csv(folder / "arrays.csv", index=False)
    arrays.to_csv(folder / "arrays.tsv", index=False, sep="\t")
    frame.to_json(folder / "lines.jsonl", orient="records", lines=True)
    frame.to_json(folder / "columns.json")
    parquet.write_table(pa.Table.from_pandas(frame), folder / "lists.parquet")
    return sorted(folder.iterdir())


def _loaded(path: Path) -> list[tuple[str, ...]] | None:
    try:
        return [q.answers for q in load_file(path, num_shots=0, seed=0).questions]
    except UserError:
        return None


def rows(values: Iterable[object]) -> Iterator[dict[str, object]]:
    return ({"question": f"q{n}", "answers": value} for n, value in enumerate(values))


def test_a_number_keeps_the_digits_that_it_is_written_with(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    written = ["1.0", "1", "-0.50", "1e5", "12345678901234567890123", "0.1", "1E-7"]
    path.write_text("".join(f'{{"question": "{n}", "answers": {n}}}\n' for n in written))
    assert _loaded(path) == [(number,) for number in written]


def test_a_refusal_names_row_column_value_and_remedy(write_jsonl: Writer) -> None:
    path = write_jsonl("m.jsonl", rows(["fine", "Paris|PARIS"]))
    with pytest.raises(UserError) as caught:
        load_file(path, num_shots=0, seed=0)
    message = str(caught.value)
    assert "m.jsonl:2: 'answers' is the text 'Paris|PARIS'" in message
    assert "--answers-separator '|'" in message
    assert "\n" not in message
